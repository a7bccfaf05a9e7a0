//! What every backend has to do, on epoll: the bodies stand in `cases`.

mod support;
#[path = "cases/descriptors.rs"]
mod descriptors;
#[path = "cases/groups.rs"]
mod groups;
#[path = "cases/kernel.rs"]
mod kernel;
#[path = "cases/waking.rs"]
mod waking;
#[path = "cases/zero_copy.rs"]
mod zero_copy;

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use coronet_ring::{Driver, MessageSpace, Preference, SharedFd, Started};
use support::kernel::wait;
use support::ops;

/// Which of the two these are.
const IS_URING: bool = false;

/// A driver on epoll, or `None` and a line that says why.
fn ring(name: &str, entries: u32) -> Option<Driver> {
    support::kernel::open(Preference::Epoll, name, entries)
}

/// The trap: a core that waits for an answer which no other ring can give.
#[test]
fn a_message_to_a_ring_is_refused_as_not_supported() {
    let Some(driver) = ring("a_message_to_a_ring_is_refused_as_not_supported", 8) else { return };
    let (ours, _theirs) = UnixStream::pair().expect("a pair");
    let sent = wait(&driver, driver.handle().submit(ops::MsgRing { ring: OwnedFd::from(ours) }));
    assert_eq!(sent.expect_err("refused").raw_os_error(), Some(libc::EOPNOTSUPP));
}

/// A socket to send on, and its peer.
fn pair() -> (SharedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    (SharedFd::new(OwnedFd::from(ours)), theirs)
}

#[test]
fn a_send_that_the_socket_takes_whole_is_over_at_once() {
    let Some(driver) = ring("a_send_that_the_socket_takes_whole_is_over_at_once", 8) else { return };
    let (socket, mut theirs) = pair();
    let send = ops::Send { socket: socket.clone(), from: b"bytes ".to_vec() };
    let Started::Over(sent) = driver.handle().send(send) else { panic!("it was submitted") };
    assert_eq!(sent.expect("sent"), 6);
    let (slices, inline) = (vec![b"mess".to_vec(), b"age ".to_vec()], *b"in the operation");
    let message = ops::SendMessage { socket, slices, inline, space: MessageSpace::new() };
    let Started::Over(sent) = driver.handle().send(message) else { panic!("it was submitted") };
    assert_eq!(sent.expect("sent"), 24);
    let mut got = [0; 30];
    theirs.read_exact(&mut got).expect("the bytes");
    assert_eq!(&got, b"bytes message in the operation");
    let stats = driver.stats();
    assert_eq!((stats.submitted, stats.delivered, stats.in_flight), (2, 2, 0));
}

/// The trap: what went with the first attempt is sent again, or not counted.
#[test]
fn a_send_that_the_socket_takes_in_part_goes_on_where_it_stopped() {
    let Some(driver) = ring("a_send_that_the_socket_takes_in_part_goes_on_where_it_stopped", 8) else {
        return;
    };
    let (socket, mut theirs) = pair();
    let from: Vec<u8> = (0..4 << 20).map(|at: u32| (at % 251) as u8).collect();
    let expected = from.clone();
    let Started::UnderWay(send) = driver.handle().send(ops::Send { socket: socket.clone(), from }) else {
        panic!("a socket that takes 4 MiB")
    };
    let reader = thread::spawn(move || {
        let mut got = vec![0; expected.len()];
        theirs.read_exact(&mut got).expect("all bytes");
        assert!(got == expected, "other bytes");
        theirs
    });
    assert_eq!(wait(&driver, send).expect("sent"), 4 << 20);
    let _theirs = reader.join().expect("all bytes, in order");
    // There is room again, and it was noticed.
    let next = driver.handle().send(ops::Send { socket, from: b"next".to_vec() });
    assert!(matches!(next, Started::Over(Ok(4))));
}

/// The trap: a task whose peer always has room never waits, and nobody else runs.
#[test]
fn who_sends_again_and_again_has_to_wait_for_a_turn_in_the_end() {
    let Some(driver) = ring("who_sends_again_and_again_has_to_wait_for_a_turn_in_the_end", 8) else { return };
    let (socket, theirs) = pair();
    let reader = thread::spawn(move || std::io::copy(&mut &theirs, &mut std::io::sink()));
    let send = || driver.handle().send(ops::Send { socket: socket.clone(), from: vec![0; 8] });
    for _ in 0..2 {
        let waits = (0..1000).find_map(|_| match send() {
            Started::Over(_) => None,
            Started::UnderWay(send) => Some(send),
        });
        let sent = wait(&driver, waits.expect("a thousand sends in a row"));
        assert_eq!(sent.expect("sent"), 8);
        driver.turn(Some(Duration::ZERO)).expect("a turn");
    }
    drop(socket);
    assert!(reader.join().expect("it read").expect("to the end") > 0);
}
