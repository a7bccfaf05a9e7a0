//! Sends that are tried at once, without being submitted: on epoll all of streams, on a ring those that are alone.

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

use coronet_ring::{Driver, Nop, OpFuture, SharedFd, Started};

use crate::support::kernel::wait;
use crate::support::{ops, poll};
use crate::{IS_URING, ring};

/// More than a socket takes that nobody reads.
const MUCH: usize = 4 << 20;

/// A driver whose last turn brought nothing, a socket to send on, and its peer.
fn ring_and_pair(name: &str) -> Option<(Driver, SharedFd, UnixStream)> {
    let driver = ring(name, 8)?;
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    Some((driver, SharedFd::new(OwnedFd::from(ours)), theirs))
}

fn start(driver: &Driver, socket: &SharedFd, from: &[u8]) -> Started<ops::Send> {
    driver.handle().send(ops::Send { socket: socket.clone(), from: from.to_vec() })
}

fn pattern(count: usize) -> Vec<u8> {
    (0..count).map(|at| (at % 251) as u8).collect()
}

#[track_caller]
fn under_way(started: Started<ops::Send>) -> OpFuture<ops::Send> {
    match started {
        Started::Over(sent) => panic!("over at once: {sent:?}"),
        Started::UnderWay(send) => send,
    }
}

#[test]
fn a_send_that_the_socket_takes_whole_is_over_at_once() {
    let name = "a_send_that_the_socket_takes_whole_is_over_at_once";
    let Some((driver, socket, mut theirs)) = ring_and_pair(name) else { return };
    let before = driver.stats().enters;
    let Started::Over(sent) = start(&driver, &socket, b"bytes") else { panic!("it was submitted") };
    assert_eq!(sent.expect("sent"), 5);
    let mut got = [0; 5];
    theirs.read_exact(&mut got).expect("the bytes");
    assert_eq!(&got, b"bytes");
    let stats = driver.stats();
    assert_eq!((stats.submitted, stats.delivered, stats.in_flight), (1, 1, 0));
    assert_eq!(stats.enters, before, "no enter, and no wait");
}

/// The trap: what went with the first attempt is sent again, or not counted.
#[test]
fn a_send_that_the_socket_takes_in_part_goes_on_where_it_stopped() {
    let name = "a_send_that_the_socket_takes_in_part_goes_on_where_it_stopped";
    let Some((driver, socket, mut theirs)) = ring_and_pair(name) else { return };
    let expected = pattern(MUCH);
    let send = under_way(start(&driver, &socket, &expected));
    let reader = thread::spawn(move || {
        let mut got = vec![0; MUCH];
        theirs.read_exact(&mut got).expect("all bytes");
        assert!(got == expected, "other bytes");
        theirs
    });
    assert_eq!(wait(&driver, send).expect("sent") as usize, MUCH);
    let _theirs = reader.join().expect("all bytes, in order");
    // There is room again, and it was noticed.
    assert!(matches!(start(&driver, &socket, b"next"), Started::Over(Ok(4))));
}

/// The trap: bytes that the peer has are reported as never sent.
#[test]
fn a_send_that_is_called_off_says_what_went_before_it_had_to_wait() {
    let name = "a_send_that_is_called_off_says_what_went_before_it_had_to_wait";
    let Some((driver, socket, mut theirs)) = ring_and_pair(name) else { return };
    let mut send = under_way(start(&driver, &socket, &pattern(MUCH)));
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(poll(&mut send).is_pending(), "nobody reads");
    send.request_cancel();
    let sent = wait(&driver, send).expect("a part of it") as usize;
    assert!(0 < sent && sent < MUCH, "{sent}");
    drop(socket);
    let mut got = Vec::new();
    theirs.read_to_end(&mut got).expect("the part");
    assert!(got == pattern(sent), "{} bytes of {sent}", got.len());
}

/// The trap: a task whose peer always has room never waits, and nobody else runs.
#[test]
fn who_sends_again_and_again_has_to_wait_for_a_turn_in_the_end() {
    let name = "who_sends_again_and_again_has_to_wait_for_a_turn_in_the_end";
    let Some((driver, socket, theirs)) = ring_and_pair(name) else { return };
    let reader = thread::spawn(move || std::io::copy(&mut &theirs, &mut std::io::sink()));
    for _ in 0..2 {
        let waits = (0..1000).find_map(|_| match start(&driver, &socket, &[0; 8]) {
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

/// The trap: many sends that could share one system call take one each.
#[test]
fn on_a_ring_a_send_goes_with_others_where_there_are_others() {
    let name = "on_a_ring_a_send_goes_with_others_where_there_are_others";
    let Some((driver, socket, _theirs)) = ring_and_pair(name) else { return };
    let is_over = || matches!(start(&driver, &socket, b"some"), Started::Over(_));
    // The second of a turn.
    assert_eq!([is_over(), is_over()], [true, !IS_URING]);
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    // Something else is to be submitted.
    let first = driver.handle().submit(Nop);
    assert_eq!(is_over(), !IS_URING);
    let second = driver.handle().submit(Nop);
    wait(&driver, first).expect("done");
    wait(&driver, second).expect("done");
    // They came together.
    assert_eq!(is_over(), !IS_URING);
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(is_over(), "it is alone again");
}
