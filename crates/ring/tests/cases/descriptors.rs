//! Descriptors and who waits for them: several operations of one, numbers that come back,
//! duplicates, boundaries, cancels. What a backend has to remember, or must not.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use coronet_ring::{Done, Driver, GroupConfig, Op, OpFuture, Request, SharedFd, Span, SpanMut, Token};
use rustix::net::{AddressFamily, SendFlags, SocketFlags, SocketType, send, socketpair};

use crate::ring;
use crate::support::kernel::{can, next, turn_until, wait};
use crate::support::{ops, poll};

const SOME: Option<Duration> = Some(Duration::ZERO);

fn shared(fd: impl Into<OwnedFd>) -> SharedFd {
    SharedFd::new(fd.into())
}

fn recv(driver: &Driver, socket: &SharedFd) -> OpFuture<ops::Recv> {
    let recv = ops::Recv { socket: socket.clone(), bytes: vec![0; 64], witness: Rc::new(()) };
    driver.handle().submit(recv)
}

#[track_caller]
fn bytes_of((count, mut bytes): (std::io::Result<u32>, Vec<u8>)) -> Vec<u8> {
    bytes.truncate(count.expect("received") as usize);
    bytes
}

fn tcp_pair() -> (TcpStream, TcpStream) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let theirs = TcpStream::connect(listener.local_addr().expect("bound")).expect("connected");
    theirs.set_nodelay(true).expect("a socket");
    (listener.accept().expect("a client").0, theirs)
}

/// Receives or sends until all is there.
struct Whole {
    socket: SharedFd,
    bytes: Vec<u8>,
    sends: bool,
}

impl Op for Whole {
    type Output = (i32, Vec<u8>);

    fn request(&mut self) -> Request<'_> {
        let (socket, flags) = (self.socket.as_fd(), libc::MSG_WAITALL);
        if self.sends {
            Request::Send { socket: socket.into(), from: Span::new(&self.bytes), flags }
        } else {
            Request::Recv { socket, into: SpanMut::over(&mut self.bytes), flags }
        }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        (done.result, self.bytes)
    }
}

struct Cancel(Token);

impl Op for Cancel {
    type Output = i32;

    fn request(&mut self) -> Request<'_> {
        Request::Cancel { target: self.0 }
    }

    fn finish(self, done: Done<Self>) -> i32 {
        done.result
    }
}

/// The token in the debug text: `OpFuture(Some(Token(slot#generation)))`.
fn token<O: Op>(future: &OpFuture<O>) -> Token {
    let text = format!("{future:?}");
    let numbers = text.split(['(', ')']).find(|part| part.contains('#')).expect("a token");
    let (slot, generation) = numbers.split_once('#').expect("two numbers");
    let (slot, generation): (u64, u64) = (slot.parse().unwrap(), generation.parse().unwrap());
    Token::from_raw(generation << 32 | slot).expect("not zero")
}

#[test]
fn one_descriptor_serves_recvs_a_send_and_a_poll_at_once() {
    let Some(driver) = ring("one_descriptor_serves_recvs_a_send_and_a_poll_at_once", 8) else { return };
    let (ours, mut theirs) = tcp_pair();
    let ours = shared(ours);
    let mut receives = vec![recv(&driver, &ours), recv(&driver, &ours)];
    let mut ready = driver.handle().submit(ops::Poll(ours.clone()));
    driver.turn(SOME).expect("a turn");
    assert!(poll(&mut ready).is_pending());
    let send = ops::Send { socket: ours.clone(), from: b"out".to_vec() };
    assert_eq!(wait(&driver, driver.handle().submit(send)).expect("sent"), 3);
    // Which of the two is served first is the kernel's choice.
    for sent in [b"one", b"two"] {
        theirs.write_all(sent).expect("sent");
        let mut arrived = None;
        turn_until(&driver, || {
            receives.retain_mut(|receive| match poll(receive) {
                Poll::Ready(output) => {
                    arrived = Some(bytes_of(output));
                    false
                }
                Poll::Pending => true,
            });
            arrived.is_some()
        });
        assert_eq!(arrived.as_deref(), Some(&sent[..]));
    }
    // A receive may have been faster than the poll; nothing is faster than the end.
    drop(theirs);
    assert_ne!(wait(&driver, ready).expect("ready") & libc::POLLIN as u32, 0);
}

/// The trap: the registration that is remembered is that of a file which is gone.
#[test]
fn a_number_that_was_closed_and_comes_back_is_another_descriptor() {
    let name = "a_number_that_was_closed_and_comes_back_is_another_descriptor";
    let Some(driver) = ring(name, 8) else { return };
    let mut numbers = std::collections::HashMap::new();
    for round in 0..200_u32 {
        let (ours, mut theirs): (SharedFd, Box<dyn Write>) = if round % 3 == 0 {
            let (ours, theirs) = tcp_pair();
            (shared(ours), Box::new(theirs))
        } else {
            let (ours, theirs) = UnixStream::pair().expect("a pair");
            (shared(ours), Box::new(theirs))
        };
        *numbers.entry(ours.as_fd().as_raw_fd()).or_insert(0) += 1;
        for part in 0..2 {
            let mut receive = recv(&driver, &ours);
            driver.turn(SOME).expect("a turn");
            assert!(poll(&mut receive).is_pending(), "round {round}, part {part}");
            let sent = round.to_ne_bytes();
            theirs.write_all(&sent).expect("sent");
            assert_eq!(bytes_of(wait(&driver, receive)), sent);
        }
        if round % 2 == 0 {
            // It goes with an operation that nobody waits for.
            drop(recv(&driver, &ours));
            turn_until(&driver, || ours.holders() == 1);
        }
    }
    assert!(numbers.values().any(|count| *count > 1), "no number came back: {numbers:?}");
}

/// The trap: events of a file that lives on under another number.
#[test]
fn a_duplicate_that_stays_open_wakes_nobody_else() {
    let Some(driver) = ring("a_duplicate_that_stays_open_wakes_nobody_else", 8) else { return };
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let (mut next_ours, mut next_theirs) = UnixStream::pair().expect("a pair");
    let kept = ours.try_clone().expect("a duplicate");
    let ours = shared(ours);
    theirs.write_all(b"a").expect("sent");
    assert_eq!(bytes_of(wait(&driver, recv(&driver, &ours))), b"a");
    let mut waits = recv(&driver, &ours);
    driver.turn(SOME).expect("a turn");
    assert!(poll(&mut waits).is_pending());
    waits.request_cancel();
    assert_eq!(wait(&driver, waits).0.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
    let number = ours.as_fd().as_raw_fd();
    let mut owned = ours.try_into_owned().expect("the only one");
    // The same number, another file.
    rustix::io::dup2(&next_ours, &mut owned).expect("a duplicate");
    assert_eq!(owned.as_raw_fd(), number);
    next_ours = UnixStream::pair().expect("a pair").0;
    let ours = SharedFd::new(owned);
    let mut receive = recv(&driver, &ours);
    driver.turn(SOME).expect("a turn");
    for _ in 0..5 {
        theirs.write_all(b"not for you").expect("sent");
        driver.turn(SOME).expect("a turn");
        assert!(poll(&mut receive).is_pending());
    }
    next_theirs.write_all(b"for you").expect("sent");
    assert_eq!(bytes_of(wait(&driver, receive)), b"for you");
    drop((kept, next_ours));
}

/// One-shot receives, one after the other: between two of them nobody waits.
#[test]
fn a_recv_per_message_finds_every_message() {
    let Some(driver) = ring("a_recv_per_message_finds_every_message", 8) else { return };
    let (ours, mut theirs) = tcp_pair();
    let ours = shared(ours);
    for round in 0..300_u32 {
        let sent = round.to_ne_bytes();
        if round % 2 == 0 {
            theirs.write_all(&sent).expect("sent");
        }
        let receive = recv(&driver, &ours);
        if round % 2 == 1 {
            driver.turn(SOME).expect("a turn");
            theirs.write_all(&sent).expect("sent");
        }
        assert_eq!(bytes_of(wait(&driver, receive)), sent);
    }
}

#[test]
fn a_cancel_says_what_it_found() {
    let Some(driver) = ring("a_cancel_says_what_it_found", 8) else { return };
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let ours = shared(ours);
    let (receive, timeout) =
        (recv(&driver, &ours), driver.handle().submit(ops::Timeout::after(Duration::from_secs(60))));
    let ready = driver.handle().submit(ops::Poll(ours.clone()));
    driver.turn(SOME).expect("a turn");
    let targets = [token(&receive), token(&timeout), token(&ready)];
    for target in targets {
        assert_eq!(wait(&driver, driver.handle().submit(Cancel(target))), 0, "it was there");
    }
    assert_eq!(wait(&driver, receive).0.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
    assert_eq!(wait(&driver, timeout), -libc::ECANCELED);
    assert_eq!(wait(&driver, ready).expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
    for target in targets {
        assert_eq!(wait(&driver, driver.handle().submit(Cancel(target))), -libc::ENOENT, "it is over");
    }
    assert_eq!(ours.holders(), 1);
}

/// The trap: bytes that were moved before the cancel are moved, whatever it says.
#[test]
fn a_cancelled_send_or_recv_reports_what_was_moved() {
    let Some(driver) = ring("a_cancelled_send_or_recv_reports_what_was_moved", 8) else { return };
    let (ours, mut theirs) = tcp_pair();
    let ours = shared(ours);
    let whole = |sends, bytes| driver.handle().submit(Whole { socket: ours.clone(), bytes, sends });
    let receive = whole(false, vec![0; 10]);
    driver.turn(SOME).expect("a turn");
    theirs.write_all(b"four").expect("sent");
    // Over loopback they are there by now; the receive has them when the socket has not.
    while rustix::io::ioctl_fionread(&ours).expect("a socket") > 0 {
        driver.turn(SOME).expect("a turn");
    }
    receive.request_cancel();
    let (count, bytes) = wait(&driver, receive);
    assert_eq!((count, &bytes[..4]), (4, &b"four"[..]));

    let send = whole(true, vec![7; 32 << 20]);
    driver.turn(SOME).expect("a turn");
    send.request_cancel();
    let (count, _) = wait(&driver, send);
    assert!(count > 0 && count < 32 << 20, "{count}");
    drop(theirs);
}

#[test]
fn a_recv_that_waits_for_all_gets_all_or_what_came_before_the_end() {
    let name = "a_recv_that_waits_for_all_gets_all_or_what_came_before_the_end";
    let Some(driver) = ring(name, 8) else { return };
    let (ours, mut theirs) = tcp_pair();
    let ours = shared(ours);
    let whole =
        |len| driver.handle().submit(Whole { socket: ours.clone(), bytes: vec![0; len], sends: false });
    let mut receive = whole(10);
    for piece in [&b"one"[..], b"two", b"three"] {
        driver.turn(SOME).expect("a turn");
        assert!(poll(&mut receive).is_pending());
        theirs.write_all(piece).expect("sent");
    }
    assert_eq!(wait(&driver, receive), (10, b"onetwothre".to_vec()));
    let receive = whole(10);
    drop(theirs);
    let (count, bytes) = wait(&driver, receive);
    assert_eq!((count, bytes[0]), (1, b'e'));
    assert_eq!(wait(&driver, whole(10)).0, 0);
}

/// Groups of eight small buffers, or `None` and a line that says why.
fn group(driver: &Driver, name: &str) -> Option<coronet_ring::Group> {
    if !can(driver, name, &["recv_multi", "buffer_groups"]) {
        return None;
    }
    let config = GroupConfig { buffers: 8, buffers_max: 8, buffer_bytes: 64, incremental: false };
    Some(driver.handle().open_group(config).expect("a group"))
}

/// The trap: a receive that does not fill its room is taken for the last one.
#[test]
fn messages_with_boundaries_arrive_one_by_one() {
    let name = "messages_with_boundaries_arrive_one_by_one";
    let Some(driver) = ring(name, 8) else { return };
    let Some(group) = group(&driver, name) else { return };
    for kind in [SocketType::SEQPACKET, SocketType::DGRAM] {
        let (ours, theirs) =
            socketpair(AddressFamily::UNIX, kind, SocketFlags::CLOEXEC, None).expect("a pair");
        let mut stream = driver.handle().submit_multi(ops::RecvMulti {
            socket: shared(ours),
            group: group.clone(),
            bundle: false,
        });
        for round in 0..3_u8 {
            for number in 0..4 {
                send(&theirs, &[round, number], SendFlags::empty()).expect("sent");
            }
            for number in 0..4 {
                let received = next(&driver, &mut stream).expect("an item").expect("bytes");
                let bytes: Vec<u8> = received.flat_map(|lease| lease.to_vec()).collect();
                assert_eq!(bytes, [round, number]);
            }
        }
    }
}

/// The trap: a receive stops at the mark of urgent data, with bytes behind it, and no event comes again.
#[test]
fn urgent_data_does_not_hide_the_bytes_behind_it() {
    let name = "urgent_data_does_not_hide_the_bytes_behind_it";
    let Some(driver) = ring(name, 8) else { return };
    let Some(group) = group(&driver, name) else { return };
    let (ours, theirs) = tcp_pair();
    for (bytes, flags) in
        [(&b"before"[..], SendFlags::empty()), (b"!", SendFlags::OOB), (b"behind", SendFlags::empty())]
    {
        assert_eq!(send(&theirs, bytes, flags), Ok(bytes.len()));
    }
    let mut stream =
        driver.handle().submit_multi(ops::RecvMulti { socket: shared(ours), group, bundle: false });
    let mut arrived = Vec::new();
    while arrived.len() < 12 {
        let received = next(&driver, &mut stream).expect("an item").expect("bytes");
        arrived.extend(received.flat_map(|lease| lease.to_vec()));
    }
    assert_eq!(arrived, b"beforebehind");
}

/// The trap: the end was reported together with the last bytes, and is not reported again.
#[test]
fn the_end_that_comes_with_the_last_bytes_is_seen() {
    let name = "the_end_that_comes_with_the_last_bytes_is_seen";
    let Some(driver) = ring(name, 8) else { return };
    let Some(group) = group(&driver, name) else { return };
    let (ours, mut theirs) = tcp_pair();
    theirs.write_all(b"last").expect("sent");
    drop(theirs);
    let mut stream =
        driver.handle().submit_multi(ops::RecvMulti { socket: shared(ours), group, bundle: false });
    let received = next(&driver, &mut stream).expect("an item").expect("bytes");
    assert_eq!(received.flat_map(|lease| lease.to_vec()).collect::<Vec<_>>(), b"last");
    assert!(next(&driver, &mut stream).expect("an item").expect("the end").is_empty());
    assert!(next(&driver, &mut stream).is_none());
}

/// The trap: the mode belongs to the open file, and others may share it.
#[test]
fn a_listener_is_in_blocking_mode_again_when_its_last_accept_is_over() {
    let name = "a_listener_is_in_blocking_mode_again_when_its_last_accept_is_over";
    let Some(driver) = ring(name, 8) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    let other = listener.try_clone().expect("a duplicate");
    let listener = shared(listener);
    let blocks = |file: &TcpListener| {
        !rustix::fs::fcntl_getfl(file).expect("flags").contains(rustix::fs::OFlags::NONBLOCK)
    };
    for _ in 0..2 {
        let multi = driver.handle().submit_multi(ops::AcceptMulti(listener.clone()));
        let once = driver.handle().submit(ops::Accept(listener.clone()));
        driver.turn(SOME).expect("a turn");
        let _clients = [(); 2].map(|()| TcpStream::connect(address).expect("connected"));
        turn_until(&driver, || driver.stats().completions > 0);
        drop((multi, once));
        turn_until(&driver, || listener.holders() == 1);
        assert!(blocks(&other));
        while driver.turn(SOME).expect("a turn") > 0 {}
    }
    // A listener that its owner wants so stays so.
    other.set_nonblocking(true).expect("a mode");
    let once = driver.handle().submit(ops::Accept(listener.clone()));
    let _client = TcpStream::connect(address).expect("connected");
    let accepted = wait(&driver, once);
    assert!(accepted.is_ok() || accepted.is_err_and(|error| error.raw_os_error() == Some(libc::EAGAIN)));
    assert!(!blocks(&other));
}

#[test]
fn a_pipe_is_read_when_something_is_written() {
    let Some(driver) = ring("a_pipe_is_read_when_something_is_written", 8) else { return };
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let (reader, writer) = (shared(reader), shared(writer));
    for at in [u64::MAX, 0] {
        let read = ops::ReadAt { file: reader.clone(), into: vec![0; 8], at };
        let mut read = driver.handle().submit(read);
        driver.turn(SOME).expect("a turn");
        assert!(poll(&mut read).is_pending());
        let write = ops::WriteAt { file: writer.clone(), from: b"pipe".to_vec(), at };
        assert_eq!(wait(&driver, driver.handle().submit(write)).expect("written"), 4);
        assert_eq!(wait(&driver, read).expect("read"), b"pipe");
    }
}
