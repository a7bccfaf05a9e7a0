//! Bytes that are lent to the network: the result at once, the buffer when the network is done, and never before.
//!
//! The simulated kernel looks at lent bytes once more before it notifies; they have to be what they were.

use std::cell::Cell;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;

use coronet::metrics;
use coronet::net::{Shutdown, TcpStream};
use coronet::ring::{Done, OnDrop, Op, Request, SharedFd, Span};
use coronet::task::yield_now;
use coronet::time::{sleep, timeout};
use futures_util::future::poll_immediate;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{Census, Sequence, bytes_at, handle, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(what_is_lent_arrives_and_comes_back_as_it_was),
    promise!(the_next_send_waits_for_the_result_and_not_for_the_buffer),
    promise!(a_dropped_send_keeps_its_buffer_until_the_network_is_done),
    promise!(a_dropped_send_goes_whole_or_not_at_all_also_where_it_is_refused),
    promise!(a_stream_that_is_dropped_at_once_sends_what_was_lent),
    promise!(a_write_behind_a_dropped_lent_one_keeps_the_order),
    promise!(a_shared_buffer_is_given_back_with_the_result),
    promise!(a_connection_that_copies_is_not_lent_to_again),
    promise!(a_lent_send_to_a_peer_that_is_gone_fails_and_gives_the_buffer_back),
    promise!(a_second_writer_is_an_error_until_the_result_is_there),
    promise!(a_runtime_that_ends_waits_for_what_is_lent).leaves(),
    promise!(a_driver_that_cannot_wait_never_frees_what_is_lent).leaks(4),
];

/// From here on a write lends by itself.
const LARGE: usize = 16 * 1024;

async fn what_is_lent_arrives_and_comes_back_as_it_was(kernel: Kernel) {
    let rounds = kernel.count(60, 12);
    let (stream, peer) = pair().await;
    let write = async {
        let (mut position, mut sequence) = (0, Sequence::new(1));
        for _ in 0..rounds {
            let len = sequence.below(3 * LARGE as u64) as usize;
            let (result, bytes) = stream.send_zc(bytes_at(position, len)).await;
            assert_eq!(result.expect("the peer reads"), len);
            assert_eq!(bytes, bytes_at(position, len), "the buffer comes back as it was");
            position += len;
        }
        stream.shutdown(Shutdown::Write).expect("connected");
        position
    };
    let (sent, read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(sent, read);
}

async fn the_next_send_waits_for_the_result_and_not_for_the_buffer(kernel: Kernel) {
    const LEN: usize = 9_000;
    let rounds = kernel.count(60, 16);
    let (stream, peer) = pair().await;
    let write = async {
        let (mut lent, mut most) = (Vec::new(), 0);
        for round in 0..rounds {
            let mut send = stream.send_zc(bytes_at(round * LEN, LEN));
            assert_eq!(send.sent().await.expect("the peer reads"), LEN);
            assert_eq!(send.sent().await.expect("it is told again"), LEN);
            lent.push(send);
            most = most.max(metrics().zero_copy_lent);
        }
        stream.shutdown(Shutdown::Write).expect("connected");
        // The last one first.
        for (round, send) in lent.into_iter().enumerate().rev() {
            let (result, bytes) = send.await;
            assert_eq!(result.expect("it was told"), LEN);
            assert_eq!(bytes, bytes_at(round * LEN, LEN));
        }
        most
    };
    let (most, read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(read, rounds * LEN);
    let lends = handle().capabilities().send_zc;
    assert!(most == 0 || lends, "nothing can be lent here");
    // Of sixteen notifications in the simulated kernel most come late.
    assert!(most > 0 || !lends || kernel == Kernel::Uring, "each result came with its notification");
    assert_eq!(metrics().zero_copy_lent, 0);
}

/// Waits until the network has given everything back.
async fn all_back(census: &Census) {
    let back = async {
        while census.alive() > 0 {
            sleep(Duration::from_millis(2)).await;
        }
    };
    timeout(Duration::from_secs(50), back).await.expect("it comes back");
}

async fn a_dropped_send_keeps_its_buffer_until_the_network_is_done(kernel: Kernel) {
    for turns in 0..kernel.count(30, 6) {
        let (stream, peer) = pair().await;
        let census = Census::default();
        let lent = metrics().zero_copy_lent;
        let mut send = stream.send_zc(census.buffer(bytes_at(0, LARGE)));
        // Where nothing is lent it may be over at once.
        let mut is_over = poll_immediate(&mut send).await.is_some();
        for _ in 0..turns {
            if is_over || metrics().zero_copy_lent > lent {
                break;
            }
            yield_now().await;
            is_over = poll_immediate(&mut send).await.is_some();
        }
        drop(send);
        assert!(metrics().zero_copy_lent == lent || census.alive() == 1, "the network has it");
        let read = async {
            drop(stream);
            assert_eq!(read_all(&peer, 0).await, LARGE);
        };
        coronet::join!(read, all_back(&census));
        assert_eq!(metrics().zero_copy_lent, lent);
    }
}

async fn a_dropped_send_goes_whole_or_not_at_all_also_where_it_is_refused(kernel: Kernel) {
    for turns in 0..kernel.count(30, 10) {
        let (stream, peer) = pair().await;
        let census = Census::default();
        let send = stream.send_zc(census.buffer(bytes_at(0, LARGE)));
        let is_over = poll_immediate(send).await.is_some();
        for _ in 0..turns {
            yield_now().await;
        }
        let was_sent = is_over || census.alive() > 0;
        let write = async {
            stream.flush().await.expect("it ended well");
            stream.shutdown(Shutdown::Write).expect("connected");
            all_back(&census).await;
        };
        let ((), read) = coronet::join!(write, read_all(&peer, 0));
        assert!(read == LARGE || (read == 0 && !was_sent), "{read}, sent: {was_sent}");
    }
}

async fn a_stream_that_is_dropped_at_once_sends_what_was_lent(kernel: Kernel) {
    for round in 0..kernel.count(30, 10) {
        let (stream, peer) = pair().await;
        let bytes: Rc<[u8]> = bytes_at(0, LARGE + round).into();
        // Half of them lend because they are told to, half by themselves.
        let polled = if round % 2 == 0 {
            poll_immediate(stream.send_zc(bytes.clone())).await
        } else {
            poll_immediate(stream.write(bytes.clone())).await
        };
        drop((stream, polled));
        // Also what waited for room in the queue.
        assert_eq!(read_all(&peer, 0).await, LARGE + round);
        while Rc::strong_count(&bytes) > 1 {
            sleep(Duration::from_millis(2)).await;
        }
    }
}

async fn a_write_behind_a_dropped_lent_one_keeps_the_order(kernel: Kernel) {
    for turns in 0..kernel.count(30, 8) {
        let (stream, peer) = pair().await;
        let write = async {
            let send = stream.send_zc(bytes_at(0, LARGE));
            let _ = poll_immediate(send).await;
            for _ in 0..turns {
                yield_now().await;
            }
            let (result, _) = stream.write_all(bytes_at(LARGE, 500)).await;
            result.expect("the peer reads");
            stream.shutdown(Shutdown::Write).expect("connected");
        };
        let ((), _) = coronet::join!(write, read_in_order(&peer));
    }
}

/// Reads to the end: the first large piece, or none of it, and what stands behind.
async fn read_in_order(peer: &TcpStream) -> usize {
    let mut bytes = Vec::new();
    loop {
        let piece = peer.recv().await.expect("no reset");
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    let whole = bytes_at(0, LARGE + 500);
    assert!(bytes == whole || bytes == whole[LARGE..] || bytes == whole[..500], "{} bytes", bytes.len());
    bytes.len()
}

async fn a_shared_buffer_is_given_back_with_the_result(kernel: Kernel) {
    let rounds = kernel.count(60, 16);
    let (stream, peer) = pair().await;
    let bytes: Rc<[u8]> = bytes_at(0, 251 * 256).into();
    let write = async {
        for round in 0..rounds {
            let (result, back) = stream.write_all(bytes.clone()).await;
            result.expect("the peer reads");
            assert!(Rc::ptr_eq(&bytes, &back), "the handle that was passed in");
            if round % 3 == 0 {
                sleep(Duration::from_millis(250)).await;
            }
        }
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(read, rounds * bytes.len());
    while Rc::strong_count(&bytes) > 1 {
        sleep(Duration::from_millis(2)).await;
    }
    assert_eq!(metrics().zero_copy_lent, 0);
}

async fn a_connection_that_copies_is_not_lent_to_again(kernel: Kernel) {
    let (stream, peer) = pair().await;
    let bytes: Rc<[u8]> = bytes_at(0, 251 * 256).into();
    let start = metrics();
    let mut off_since = None;
    let write = async {
        for _ in 0..kernel.count(40, 12) {
            stream.write_all(bytes.clone()).await.0.expect("the peer reads");
            while metrics().zero_copy_lent > 0 {
                sleep(Duration::from_millis(1)).await;
            }
            let now = metrics();
            match off_since {
                Some(sent) => assert_eq!(now.zero_copy_sent, sent, "it was said that this copies"),
                None if now.zero_copy_copied > start.zero_copy_copied => off_since = Some(now.zero_copy_sent),
                None => {}
            }
        }
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(read % bytes.len(), 0);
    let lent = metrics().zero_copy_sent - start.zero_copy_sent;
    if !handle().capabilities().send_zc_report {
        assert_eq!(lent, 0, "nobody would say that it copies");
    } else if kernel == Kernel::Uring {
        assert_eq!(lent, 1, "on loopback the kernel copies, and says so");
    }
}

async fn a_lent_send_to_a_peer_that_is_gone_fails_and_gives_the_buffer_back(kernel: Kernel) {
    let (stream, peer) = pair().await;
    drop(peer);
    for _ in 0..kernel.count(1_000, 200) {
        let mut send = stream.send_zc(bytes_at(0, 300));
        let told = send.sent().await;
        let (result, bytes) = send.await;
        assert_eq!(bytes, bytes_at(0, 300));
        assert_eq!(told.is_ok(), result.is_ok());
        if let Err(error) = told {
            assert_eq!(error.kind(), result.expect_err("as it was told").kind());
            return;
        }
        sleep(Duration::from_millis(1)).await;
    }
    panic!("the peer is gone, and every send succeeds");
}

async fn a_second_writer_is_an_error_until_the_result_is_there(_: Kernel) {
    let (stream, peer) = pair().await;
    let mut first = stream.send_zc(bytes_at(0, 10));
    if poll_immediate(first.sent()).await.is_none() {
        let (result, bytes) = stream.send_zc(bytes_at(10, 10)).await;
        let error = result.expect_err("the first one has the turn");
        assert_eq!((error.kind(), bytes.len()), (std::io::ErrorKind::ResourceBusy, 10));
    }
    first.sent().await.expect("connected");
    stream.write_all(bytes_at(10, 10)).await.0.expect("connected");
    drop(first);
    drop(stream);
    assert_eq!(read_all(&peer, 0).await, 20);
}

async fn a_runtime_that_ends_waits_for_what_is_lent(kernel: Kernel) {
    for round in 0..kernel.count(20, 6) {
        let (stream, peer) = pair().await;
        let mut send = stream.send_zc(bytes_at(0, LARGE));
        let _ = poll_immediate(send.sent()).await;
        if round % 2 == 0 {
            drop(coronet::spawn(async move { read_all(&peer, 0).await }));
        }
        yield_now().await;
    }
}

/// A send of the ring itself, for a driver that is turned by hand.
struct Lend {
    socket: Cell<Option<SharedFd>>,
    bytes: Vec<u8>,
}

impl Op for Lend {
    type Output = i32;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        let socket = self.socket.get_mut().as_ref().expect("kept until the result").target();
        Request::SendZc { socket, from: Span::new(&self.bytes), flags: libc::MSG_WAITALL, report: false }
    }

    fn give_up_descriptor(&self) -> Option<SharedFd> {
        self.socket.take()
    }

    fn finish(self, done: Done<Self>) -> i32 {
        done.result
    }
}

async fn a_driver_that_cannot_wait_never_frees_what_is_lent(kernel: Kernel) {
    let drain = match kernel {
        Kernel::Simulated => Duration::from_micros(50),
        // On loopback small sends are over at once.
        Kernel::Uring | Kernel::Epoll => Duration::from_secs(10),
    };
    let mut driver = kernel.driver("lender");
    let (stream, peer) = pair().await;
    let socket = SharedFd::new(stream.into_std().expect("it was never read").into());
    if kernel == Kernel::Uring && !handle().capabilities().send_zc {
        return;
    }
    let lend = |number: usize| {
        let op = Lend { socket: Cell::new(Some(socket.clone())), bytes: bytes_at(number * 400, 400) };
        driver.handle().submit(op).early()
    };
    let mut sends: Vec<_> = (0..4).map(lend).collect();
    for _ in 0..3 {
        driver.turn(Some(Duration::ZERO)).expect("it goes on");
    }
    // Some are looked at, some are dropped before, some are neither.
    let _ = poll_fn(|cx| std::task::Poll::Ready(sends[0].poll_result(cx).is_ready())).await;
    drop(sends.remove(1));
    let leaked = driver.shut_down(drain);
    let stats = driver.stats();
    assert_eq!(stats.leaked, leaked as u64);
    assert!(kernel == Kernel::Simulated || leaked == 0, "{stats:?}");
    drop(sends);
    drop((socket, driver));
    // Notifications that come now look at memory that is never freed.
    sleep(Duration::from_millis(300)).await;
    drop(peer);
}
