//! Zero-copy sends on the real kernel: the result comes at once, the memory when the network is done with it.
//!
//! A peer that does not read keeps bytes in the sender's queue, so that their notification is late also on
//! loopback, where the kernel copies as soon as it delivers.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coronet_ring::{Driver, EarlyOp, SharedFd};

use crate::support::kernel::{can, turn_until, wait};
use crate::support::ops::SendZc;
use crate::support::poll;
use crate::{IS_URING, ring};

/// More than a peer that does not read takes, and less than the sender queues.
const BYTES: usize = 160 * 1024;

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|index| (index % 251) as u8).collect()
}

/// A driver, our end of a connection, and the peer, which holds a part and has read nothing.
fn ring_and_pair(name: &str) -> Option<(Driver, SharedFd, TcpStream)> {
    let driver = ring(name, 8)?;
    if IS_URING && !can(&driver, name, &["send_zc", "send_zc_report"]) {
        return None;
    }
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    // Accepted sockets take it over. With much less, reading it all takes the pauses of a closed window.
    rustix::net::sockopt::set_socket_recv_buffer_size(&listener, 64 * 1024).expect("a socket");
    let ours = TcpStream::connect(listener.local_addr().expect("bound")).expect("it listens");
    rustix::net::sockopt::set_socket_send_buffer_size(&ours, 4 << 20).expect("a socket");
    let (theirs, _) = listener.accept().expect("a client");
    Some((driver, SharedFd::new(ours.into()), theirs))
}

fn send(driver: &Driver, socket: &SharedFd, bytes: usize, witness: &Rc<()>) -> EarlyOp<SendZc> {
    let op = SendZc::new(socket.clone(), pattern(bytes), witness.clone());
    driver.handle().submit(op).early()
}

/// Waits for the result alone.
fn result_of(driver: &Driver, send: &mut EarlyOp<SendZc>) -> i32 {
    let mut result = None;
    turn_until(driver, || {
        if let Poll::Ready(done) = send.poll_result(&mut Context::from_waker(Waker::noop())) {
            result = Some(done.result);
        }
        result.is_some()
    });
    result.expect("it is there")
}

/// Reads everything up to the end, or up to so many bytes.
fn read(peer: &mut TcpStream, count: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    peer.take(count as u64).read_to_end(&mut bytes).expect("no reset");
    bytes
}

fn assert_rest(driver: &Driver) {
    let stats = driver.stats();
    assert_eq!((stats.in_flight, stats.leaked, stats.stale, stats.faulted), (0, 0, 0, 0), "{stats:?}");
    assert_eq!((stats.zero_copy_lent, stats.submitted), (0, stats.delivered + stats.orphaned), "{stats:?}");
}

#[test]
fn a_zero_copy_send_arrives_and_says_whether_it_was_copied() {
    let Some((driver, socket, mut peer)) =
        ring_and_pair("a_zero_copy_send_arrives_and_says_whether_it_was_copied")
    else {
        return;
    };
    let witness = Rc::new(());
    let send = send(&driver, &socket, 1000, &witness);
    let (done, bytes) = wait(&driver, send);
    assert_eq!((done.result, bytes), (1000, pattern(1000)));
    // Loopback always copies. Without the ring it is a plain send, of which nothing is reported.
    assert_eq!((done.is_notification(), done.was_copied()), (IS_URING, IS_URING));
    assert_eq!(read(&mut peer, 1000), pattern(1000));
    let stats = driver.stats();
    let counted = u64::from(IS_URING);
    assert_eq!((stats.zero_copy_sent, stats.zero_copy_copied), (counted, counted));
    assert_rest(&driver);
}

#[test]
fn the_result_does_not_wait_for_the_notification_and_the_next_send_neither() {
    let name = "the_result_does_not_wait_for_the_notification_and_the_next_send_neither";
    let Some((driver, socket, mut peer)) = ring_and_pair(name) else { return };
    let witness = Rc::new(());
    let mut first = send(&driver, &socket, BYTES, &witness);
    assert_eq!(result_of(&driver, &mut first), BYTES as i32);
    let mut second = send(&driver, &socket, BYTES, &witness);
    assert_eq!(result_of(&driver, &mut second), BYTES as i32);
    if IS_URING {
        assert!(poll(&mut first).is_pending() && poll(&mut second).is_pending(), "the peer has read nothing");
        assert_eq!(driver.stats().zero_copy_lent, 2);
    }
    drop(second);
    assert_eq!(Rc::strong_count(&witness), 1 + if IS_URING { 2 } else { 1 }, "nobody waits, and it stays");
    let reader = std::thread::spawn(move || read(&mut peer, 2 * BYTES));
    let (done, bytes) = wait(&driver, first);
    assert_eq!((done.result, bytes.len()), (BYTES as i32, BYTES));
    turn_until(&driver, || Rc::strong_count(&witness) == 1);
    assert_eq!(reader.join().expect("no panic"), [pattern(BYTES), pattern(BYTES)].concat());
    assert_rest(&driver);
}

/// The trap: the operation holds the descriptor, so that the peer would not hear the end before the notification.
#[test]
fn the_descriptor_is_given_up_with_the_result() {
    let name = "the_descriptor_is_given_up_with_the_result";
    let Some((driver, socket, mut peer)) = ring_and_pair(name) else { return };
    let witness = Rc::new(());
    let mut sending = send(&driver, &socket, BYTES, &witness);
    assert_eq!(socket.holders(), 2);
    assert_eq!(result_of(&driver, &mut sending), BYTES as i32);
    if !IS_URING {
        // A result without a notification is the end: the operation takes it along.
        wait(&driver, sending);
        return assert_rest(&driver);
    }
    assert_eq!(socket.holders(), 1);
    drop(socket);
    drop(sending);
    assert_eq!(driver.stats().zero_copy_lent, 1);
    let mut bytes = Vec::new();
    peer.read_to_end(&mut bytes).expect("the end, and no reset");
    assert_eq!(bytes, pattern(BYTES));
    turn_until(&driver, || Rc::strong_count(&witness) == 1);
    assert_rest(&driver);
}

#[test]
fn a_driver_that_ends_waits_for_the_notification() {
    let name = "a_driver_that_ends_waits_for_the_notification";
    let Some((mut driver, socket, mut peer)) = ring_and_pair(name) else { return };
    let witness = Rc::new(());
    let mut sending = send(&driver, &socket, BYTES, &witness);
    assert_eq!(result_of(&driver, &mut sending), BYTES as i32);
    drop(sending);
    let reader = std::thread::spawn(move || read(&mut peer, BYTES));
    assert_eq!(driver.shut_down(crate::support::kernel::patience()), 0);
    assert_eq!(Rc::strong_count(&witness), 1);
    assert_eq!(reader.join().expect("no panic"), pattern(BYTES));
}

#[test]
fn memory_whose_notification_does_not_come_in_time_is_never_freed() {
    let name = "memory_whose_notification_does_not_come_in_time_is_never_freed";
    let Some((mut driver, socket, mut peer)) = ring_and_pair(name) else { return };
    let witness = Rc::new(());
    let mut sending = send(&driver, &socket, BYTES, &witness);
    assert_eq!(result_of(&driver, &mut sending), BYTES as i32);
    drop(sending);
    let lent = usize::from(IS_URING);
    assert_eq!(driver.shut_down(Duration::from_millis(20)), lent);
    drop(driver);
    assert_eq!(Rc::strong_count(&witness), 1 + lent);
    // What the network still reads there is what was lent.
    assert_eq!(read(&mut peer, BYTES), pattern(BYTES));
}

#[test]
fn a_zero_copy_send_that_fails_gives_its_memory_back() {
    let Some((driver, socket, peer)) = ring_and_pair("a_zero_copy_send_that_fails_gives_its_memory_back")
    else {
        return;
    };
    let witness = Rc::new(());
    peer.shutdown(std::net::Shutdown::Both).expect("connected");
    drop(peer);
    let mut result = 0;
    // The first ones may go before the reset comes.
    for _ in 0..1000 {
        let send = send(&driver, &socket, 1000, &witness);
        let (done, bytes) = wait(&driver, send);
        assert_eq!(bytes.len(), 1000);
        result = done.result;
        if result < 0 {
            break;
        }
    }
    assert!([-libc::EPIPE, -libc::ECONNRESET].contains(&result), "{result}");
    assert_eq!(Rc::strong_count(&witness), 1);
    assert_rest(&driver);
}
