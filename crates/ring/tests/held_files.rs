//! Files that the ring keeps in a table of its own: they end when their descriptor does, and a place
//! stands for one file of one ring.
//!
//! Without io_uring, or without such tables, each test prints a counted SKIP.

mod support;

use std::io::{ErrorKind, Read};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

use coronet_ring::{Driver, Preference, SharedFd};
use support::kernel::{can, open, wait};
use support::{ops, poll};

/// A ring whose kernel has such tables.
fn ring_with_table(name: &str) -> Option<Driver> {
    let driver = open(Preference::Uring, name, 8)?;
    can(&driver, name, &["file_table"]).then_some(driver)
}

/// A socket that the ring holds, the descriptor it stands for, and its peer.
fn held(driver: &Driver) -> (SharedFd, SharedFd, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let plain = SharedFd::new(OwnedFd::from(ours));
    let held = driver.handle().hold(&plain).expect("a place");
    theirs.set_nonblocking(true).expect("an option");
    (held, plain, theirs)
}

fn send(socket: &SharedFd, bytes: &[u8]) -> ops::Send {
    ops::Send { socket: socket.clone(), from: bytes.to_vec() }
}

#[track_caller]
fn assert_received(peer: &mut UnixStream, expected: &[u8]) {
    let mut bytes = vec![0; expected.len()];
    peer.read_exact(&mut bytes).expect("the bytes");
    assert_eq!(bytes, expected);
}

#[track_caller]
fn assert_open(peer: &mut UnixStream) {
    let error = peer.read(&mut [0]).expect_err("neither bytes nor the end");
    assert_eq!(error.kind(), ErrorKind::WouldBlock);
}

#[track_caller]
fn assert_ended(peer: &mut UnixStream) {
    assert_eq!(peer.read(&mut [0]).expect("the end"), 0);
}

#[test]
fn a_held_socket_sends_and_ends_with_its_last_clone_and_not_before() {
    let Some(driver) = ring_with_table("a_held_socket_sends") else { return };
    let (held, plain, mut peer) = held(&driver);
    assert_eq!(wait(&driver, driver.handle().submit(send(&held, b"by place"))).expect("sent"), 8);
    assert_received(&mut peer, b"by place");
    drop(plain);
    assert_open(&mut peer);
    drop(held);
    assert_ended(&mut peer);
}

#[test]
fn a_socket_that_is_taken_out_of_its_count_is_out_of_the_table_too() {
    let Some(driver) = ring_with_table("a_socket_that_is_taken_out") else { return };
    let (held, plain, mut peer) = held(&driver);
    drop(plain);
    let fd = held.try_into_owned().expect("the last clone");
    assert_open(&mut peer);
    drop(fd);
    assert_ended(&mut peer);
}

#[test]
fn a_send_in_flight_keeps_its_socket_until_it_is_over() {
    let Some(driver) = ring_with_table("a_send_in_flight_keeps_its_socket") else { return };
    let (held, plain, mut peer) = held(&driver);
    let bytes = vec![7; 4 << 20];
    let mut sending = driver.handle().submit(send(&held, &bytes));
    assert!(poll(&mut sending).is_pending());
    drop((held, plain));
    let (mut received, mut piece) = (0, vec![0; 1 << 20]);
    while received < bytes.len() {
        driver.turn(Some(std::time::Duration::ZERO)).expect("a turn");
        match peer.read(&mut piece) {
            Ok(count) => {
                assert!(count > 0, "the end after {received} bytes");
                assert!(piece[..count].iter().all(|byte| *byte == 7));
                received += count;
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::WouldBlock),
        }
    }
    assert_eq!(wait(&driver, sending).expect("sent") as usize, bytes.len());
    assert_ended(&mut peer);
}

#[test]
fn a_place_is_given_to_the_next_file_and_never_shared() {
    let Some(driver) = ring_with_table("a_place_is_given_to_the_next_file") else { return };
    for round in 0..100_u8 {
        let (one, one_plain, mut one_peer) = held(&driver);
        let (two, _two_plain, mut two_peer) = held(&driver);
        drop((one, one_plain));
        assert_ended(&mut one_peer);
        let (three, _three_plain, mut three_peer) = held(&driver);
        wait(&driver, driver.handle().submit(send(&two, &[2, round]))).expect("sent");
        wait(&driver, driver.handle().submit(send(&three, &[3, round]))).expect("sent");
        assert_received(&mut two_peer, &[2, round]);
        assert_received(&mut three_peer, &[3, round]);
    }
}

#[test]
fn another_ring_takes_the_number_and_not_the_place() {
    let Some(driver) = ring_with_table("another_ring_takes_the_number") else { return };
    let Some(other) = ring_with_table("another_ring_takes_the_number") else { return };
    let (held_here, _plain, mut peer) = held(&driver);
    let (_held_there, _there, mut stranger) = held(&other);
    wait(&other, other.handle().submit(send(&held_here, b"mine"))).expect("sent");
    assert_received(&mut peer, b"mine");
    assert_open(&mut stranger);
}

#[test]
fn a_ring_that_ends_lets_go_of_its_files_at_once() {
    let Some(driver) = ring_with_table("a_ring_that_ends_lets_go") else { return };
    let (held, plain, mut peer) = held(&driver);
    let mut early = {
        let (_held, _plain, peer) = self::held(&driver);
        peer
    };
    assert_ended(&mut early);
    drop(driver);
    assert_open(&mut peer);
    drop((held, plain));
    assert_ended(&mut peer);
}
