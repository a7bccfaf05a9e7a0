//! What every backend has to do, on io_uring: the bodies stand in `cases`. And what only a ring can do.

mod support;
#[path = "cases/descriptors.rs"]
mod descriptors;
#[path = "cases/groups.rs"]
mod groups;
#[path = "cases/kernel.rs"]
mod kernel;
#[path = "cases/sends.rs"]
mod sends;
#[path = "cases/waking.rs"]
mod waking;
#[path = "cases/zero_copy.rs"]
mod zero_copy;

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::{Duration, Instant};

use coronet_ring::{Driver, Nop, Preference, SharedFd};
use support::kernel::{can, patience, skip, wait};
use support::{ops, poll};

/// Which of the two these are.
const IS_URING: bool = true;

/// A driver on io_uring, or `None` and a line that says why.
fn ring(name: &str, entries: u32) -> Option<Driver> {
    support::kernel::open(Preference::Uring, name, entries)
}

#[test]
fn a_turn_with_nothing_to_do_costs_no_system_call() {
    let name = "a_turn_with_nothing_to_do_costs_no_system_call";
    let Some(driver) = ring(name, 8) else { return };
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    // Only a ring with the TASKRUN flag says so without being asked.
    if driver.report().why.starts_with("plain") {
        return skip(name, "needs coop_taskrun");
    }
    let before = driver.stats().enters;
    for _ in 0..10 {
        driver.turn(Some(Duration::ZERO)).expect("a turn");
    }
    assert_eq!(driver.stats().enters, before);
    let mut nop = driver.handle().submit(Nop);
    assert!(driver.has_pending());
    driver.turn(None).expect("a turn");
    assert!(poll(&mut nop).is_ready());
    assert_eq!(driver.stats().enters, before + 1, "one to submit and to wait");
}

#[test]
fn a_message_to_another_ring_ends_its_park_and_completes_nothing_there() {
    let name = "a_message_to_another_ring_ends_its_park_and_completes_nothing_there";
    let (Some(sender), Some(receiver)) = (ring(name, 8), ring(name, 8)) else { return };
    if !can(&sender, name, &["msg_ring"]) {
        return;
    }
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let ours = SharedFd::new(OwnedFd::from(ours));
    let recv = ops::Recv { socket: ours, bytes: vec![0; 8], witness: Rc::new(()) };
    let mut recv = receiver.handle().submit(recv);
    receiver.turn(Some(Duration::ZERO)).expect("a turn");
    for _ in 0..3 {
        let fd = receiver.ring().expect("a ring").try_clone_to_owned().expect("a descriptor");
        wait(&sender, sender.handle().submit(ops::MsgRing { ring: fd })).expect("sent");
        let start = Instant::now();
        receiver.turn(Some(patience())).expect("a turn");
        assert!(start.elapsed() < patience() / 2, "the park ended");
        assert!(poll(&mut recv).is_pending(), "a message completed an operation");
    }
    theirs.write_all(b"true").expect("sent");
    assert_eq!(wait(&receiver, recv).0.expect("received"), 4);
    assert_eq!(receiver.stats().in_flight, 0);
}
