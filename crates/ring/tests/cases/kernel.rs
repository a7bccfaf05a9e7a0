//! The operations on the real kernel: what goes in comes out, byte by byte.
//!
//! Where there is no io_uring its tests print a counted SKIP; `CORONET_REQUIRE=uring` makes that a failure.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::ring;
use crate::support::kernel::{next, turn_until, wait};
use crate::support::{ops, poll};
use coronet_ring::{Driver, MessageSpace, Nop, OpFuture, SharedFd};

fn shared(fd: impl Into<OwnedFd>) -> SharedFd {
    SharedFd::new(fd.into())
}

/// A ring, and a pair of sockets: ours and the peer's.
fn ring_and_pair(name: &str, entries: u32) -> Option<(Driver, SharedFd, UnixStream)> {
    let driver = ring(name, entries)?;
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    Some((driver, shared(ours), theirs))
}

/// Waits for one after the other; how many completed in which order does not matter. A look at all of them
/// after each turn would make ten thousand take seconds on a slow machine.
fn wait_all<O: coronet_ring::Op>(
    driver: &Driver,
    futures: Vec<OpFuture<O>>,
    mut each: impl FnMut(O::Output),
) {
    for future in futures {
        each(wait(driver, future));
    }
}

fn assert_rest(driver: &Driver) {
    let stats = driver.stats();
    assert_eq!((stats.in_flight, stats.leaked, stats.stale), (0, 0, 0), "{stats:?}");
    assert_eq!(stats.submitted, stats.delivered + stats.orphaned, "{stats:?}");
}

#[test]
fn a_nop_completes() {
    let Some(driver) = ring("a_nop_completes", 8) else { return };
    wait(&driver, driver.handle().submit(Nop)).expect("a nop");
    assert_rest(&driver);
}

#[test]
fn ten_thousand_nops_go_through_a_ring_of_eight() {
    let Some(driver) = ring("ten_thousand_nops_go_through_a_ring_of_eight", 8) else { return };
    let handle = driver.handle();
    let futures: Vec<_> = (0..10_000).map(|_| handle.submit(Nop)).collect();
    let mut count = 0;
    wait_all(&driver, futures, |result| {
        result.expect("a nop");
        count += 1;
    });
    assert_eq!(count, 10_000);
    assert_rest(&driver);
}

/// The trap: more completions at once than the queue has room for.
#[test]
fn ten_thousand_timeouts_due_at_once_all_resolve() {
    let Some(driver) = ring("ten_thousand_timeouts_due_at_once_all_resolve", 64) else { return };
    let handle = driver.handle();
    let start = Instant::now();
    let due = Duration::from_millis(50);
    let submit = || handle.submit(ops::Timeout::after(due.saturating_sub(start.elapsed())));
    let futures: Vec<_> = (0..10_000).map(|_| submit()).collect();
    let mut count = 0;
    wait_all(&driver, futures, |result| {
        assert_eq!(result, -libc::ETIME);
        count += 1;
    });
    assert_eq!(count, 10_000);
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    assert_rest(&driver);
}

#[test]
fn bytes_written_to_a_file_are_read_back_at_their_positions() {
    let Some(driver) = ring("bytes_written_to_a_file_are_read_back_at_their_positions", 8) else { return };
    let path = std::env::temp_dir().join(format!("coronet-ring-{}", std::process::id()));
    let options = std::fs::OpenOptions::new().read(true).write(true).create(true).truncate(true).open(&path);
    let file = shared(options.expect("a file"));
    std::fs::remove_file(&path).expect("it is there");
    let handle = driver.handle();
    for (at, byte) in [(0_u64, b'a'), (5000, b'b'), (100, b'c')] {
        let write = ops::WriteAt { file: file.clone(), from: vec![byte; 100], at };
        assert_eq!(wait(&driver, handle.submit(write)).expect("written"), 100);
    }
    let read = |at, room| {
        let read = ops::ReadAt { file: file.clone(), into: vec![7; room], at };
        wait(&driver, handle.submit(read)).expect("read")
    };
    assert_eq!(read(0, 200), [vec![b'a'; 100], vec![b'c'; 100]].concat());
    assert_eq!(read(4999, 2), [0, b'b']);
    assert_eq!(read(5050, 1000).len(), 50, "the file ends there");
    assert_eq!(read(9000, 10), [], "nothing behind the end");
    assert_rest(&driver);
}

/// The trap: header, slices and bytes all lie in the operation, which moves before it is lent.
#[test]
fn a_message_that_points_into_its_own_operation_arrives_whole() {
    let name = "a_message_that_points_into_its_own_operation_arrives_whole";
    let Some((driver, ours, mut theirs)) = ring_and_pair(name, 8) else { return };
    let slices: Vec<_> = (0..63_u8).map(|number| vec![number; usize::from(number) + 1]).collect();
    let inline = *b"in the operation";
    let expected = [slices.concat(), inline.to_vec()].concat();
    let send = ops::SendMessage { socket: ours, slices, inline, space: MessageSpace::new() };
    let sent = wait(&driver, driver.handle().submit(send)).expect("sent");
    let mut arrived = vec![0; sent as usize];
    theirs.read_exact(&mut arrived).expect("received");
    assert_eq!(arrived, expected);
    assert_rest(&driver);
}

#[test]
fn a_send_and_a_recv_move_the_same_bytes() {
    let Some((driver, ours, mut theirs)) = ring_and_pair("a_send_and_a_recv_move_the_same_bytes", 8) else {
        return;
    };
    let handle = driver.handle();
    let from = b"over the ring".to_vec();
    assert_eq!(wait(&driver, handle.submit(ops::Send { socket: ours.clone(), from })).expect("sent"), 13);
    let mut arrived = [0; 13];
    theirs.read_exact(&mut arrived).expect("received");
    assert_eq!(&arrived, b"over the ring");
    let recv = ops::Recv { socket: ours, bytes: vec![0; 64], witness: Rc::new(()) };
    let mut recv = handle.submit(recv);
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(poll(&mut recv).is_pending());
    theirs.write_all(b"and back").expect("sent");
    let (count, bytes) = wait(&driver, recv);
    assert_eq!((count.expect("received"), &bytes[..8], bytes.len()), (8, b"and back".as_slice(), 64));
    assert_rest(&driver);
}

#[test]
fn a_poll_resolves_when_its_descriptor_is_ready() {
    let Some((driver, ours, mut theirs)) = ring_and_pair("a_poll_resolves_when_its_descriptor_is_ready", 8)
    else {
        return;
    };
    let mut future = driver.handle().submit(ops::Poll(ours));
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(poll(&mut future).is_pending());
    theirs.write_all(b"x").expect("sent");
    assert_eq!(wait(&driver, future).expect("ready"), libc::POLLIN as u32);
    assert_rest(&driver);
}

#[test]
fn a_multishot_poll_resolves_each_time() {
    let Some((driver, ours, mut theirs)) = ring_and_pair("a_multishot_poll_resolves_each_time", 8) else {
        return;
    };
    let mut stream = driver.handle().submit_multi(ops::PollMulti(ours));
    for _ in 0..5 {
        theirs.write_all(b"x").expect("sent");
        let ready = next(&driver, &mut stream).expect("it goes on").expect("ready");
        assert_eq!(ready & libc::POLLIN as u32, libc::POLLIN as u32);
    }
    stream.request_cancel();
    let mut last = None;
    while let Some(item) = next(&driver, &mut stream) {
        last = Some(item);
    }
    let error = last.expect("a last item").expect_err("the cancel");
    assert_eq!(error.raw_os_error(), Some(libc::ECANCELED));
    assert_rest(&driver);
}

#[test]
fn a_multishot_accept_takes_connection_after_connection() {
    let Some(driver) = ring("a_multishot_accept_takes_connection_after_connection", 8) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    let listener = shared(listener);
    let mut stream = driver.handle().submit_multi(ops::AcceptMulti(listener.clone()));
    let mut clients = Vec::new();
    for number in 0..20_u8 {
        let mut client = TcpStream::connect(address).expect("connected");
        client.write_all(&[number]).expect("sent");
        clients.push(client);
    }
    for number in 0..20_u8 {
        let fd = next(&driver, &mut stream).expect("it goes on").expect("a connection");
        let flags = rustix::io::fcntl_getfd(&fd).expect("open");
        assert!(flags.contains(rustix::io::FdFlags::CLOEXEC), "not inherited by a child");
        let mut byte = [0];
        TcpStream::from(fd).read_exact(&mut byte).expect("a byte");
        assert_eq!(byte, [number], "in the order of the backlog");
    }
    drop(stream);
    turn_until(&driver, || listener.holders() == 1);
    assert_rest(&driver);
}

/// The trap: accept completes after its future is gone, so the new descriptor has no owner.
#[test]
fn a_connection_that_nobody_takes_is_closed() {
    let Some(driver) = ring("a_connection_that_nobody_takes_is_closed", 8) else { return };
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    let listener = shared(listener);
    let accept = driver.handle().submit(ops::Accept(listener.clone()));
    let multi = driver.handle().submit_multi(ops::AcceptMulti(listener.clone()));
    let mut clients = [(); 2].map(|()| TcpStream::connect(address).expect("connected"));
    turn_until(&driver, || driver.stats().completions >= 2);
    drop((accept, multi));
    turn_until(&driver, || listener.holders() == 1);
    for client in &mut clients {
        assert_eq!(client.read(&mut [0]).expect("its end"), 0);
    }
    assert_rest(&driver);
}

#[test]
fn a_refused_connect_keeps_its_errno() {
    let Some(driver) = ring("a_refused_connect_keeps_its_errno", 8) else { return };
    // Bound but not listening: nobody else gets the port, and it refuses.
    let closed = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let closed = closed.expect("a socket");
    let any: std::net::SocketAddr = ([127, 0, 0, 1], 0).into();
    rustix::net::bind(&closed, &any).expect("bound");
    let bound = TcpStream::from(closed);
    let port = bound.local_addr().expect("bound").port();
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let connect = ops::Connect::to_port(shared(socket.expect("a socket")), port);
    let error = wait(&driver, driver.handle().submit(connect)).expect_err("nobody listens");
    assert_eq!(error.raw_os_error(), Some(libc::ECONNREFUSED));

    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let socket = rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
    let port = listener.local_addr().expect("bound").port();
    let connect = ops::Connect::to_port(shared(socket.expect("a socket")), port);
    wait(&driver, driver.handle().submit(connect)).expect("connected");
    listener.accept().expect("it is there");
    assert_rest(&driver);
}

#[test]
fn a_close_closes() {
    let Some((driver, ours, mut theirs)) = ring_and_pair("a_close_closes", 8) else { return };
    let fd = ours.try_into_owned().expect("nobody else has it");
    let (result, still_owned) = wait(&driver, driver.handle().submit(ops::Close(Some(fd))));
    result.expect("closed");
    assert!(!still_owned);
    assert_eq!(theirs.read(&mut [0]).expect("the end"), 0);
    assert_rest(&driver);
}

/// The trap: a close that never reached the kernel has to give its descriptor back.
#[test]
fn a_close_that_is_refused_still_owns_its_descriptor() {
    let name = "a_close_that_is_refused_still_owns_its_descriptor";
    let Some((mut driver, ours, theirs)) = ring_and_pair(name, 8) else { return };
    let handle = driver.handle();
    assert_eq!(driver.shut_down(Duration::ZERO), 0);
    let fd = ours.try_into_owned().expect("nobody else has it");
    let (result, still_owned) = crate::support::ready(&mut handle.submit(ops::Close(Some(fd))));
    assert_eq!(result.expect_err("refused").raw_os_error(), Some(libc::ECANCELED));
    assert!(still_owned);
    drop(theirs);
}

#[test]
fn an_operation_that_panics_in_finish_leaves_the_ring_usable() {
    struct Bomb;
    impl coronet_ring::Op for Bomb {
        type Output = ();
        fn request(&mut self) -> coronet_ring::Request<'_> {
            coronet_ring::Request::Nop
        }
        fn finish(self, _: coronet_ring::Done<Self>) {
            panic!("on purpose");
        }
    }
    let Some(driver) = ring("an_operation_that_panics_in_finish_leaves_the_ring_usable", 8) else { return };
    let bomb = driver.handle().submit(Bomb);
    assert!(std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| wait(&driver, bomb))).is_err());
    drop(driver.handle().submit(Bomb));
    let turned = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| driver.turn(Some(Duration::ZERO))));
    assert!(turned.is_err(), "the orphan panics in the turn");
    wait(&driver, driver.handle().submit(Nop)).expect("a nop");
    assert_rest(&driver);
}
