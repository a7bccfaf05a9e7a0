//! What every backend has to do, on epoll: the bodies stand in `cases`.

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

use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;

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

#[test]
fn a_message_that_the_socket_takes_whole_is_over_at_once() {
    let Some(driver) = ring("a_message_that_the_socket_takes_whole_is_over_at_once", 8) else { return };
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let (slices, inline) = (vec![b"mess".to_vec(), b"age ".to_vec()], *b"in the operation");
    let socket = SharedFd::new(OwnedFd::from(ours));
    let message = ops::SendMessage { socket, slices, inline, space: MessageSpace::new() };
    let Started::Over(sent) = driver.handle().send(message) else { panic!("it was submitted") };
    assert_eq!(sent.expect("sent"), 24);
    let mut got = [0; 24];
    theirs.read_exact(&mut got).expect("the bytes");
    assert_eq!(&got, b"message in the operation");
    let stats = driver.stats();
    assert_eq!((stats.submitted, stats.delivered, stats.in_flight), (1, 1, 0));
}
