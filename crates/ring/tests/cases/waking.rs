//! What ends a wait: a completion, a deadline, an unpark; and the descriptor of a driver
//! that lives in somebody else's event loop.

use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use crate::ring;
use crate::support::kernel::{is_asleep, patience, turn_until};
use crate::support::{ops, poll};
use coronet_ring::{Driver, OpFuture, SharedFd};
use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::thread::gettid;

const NOW: Timespec = Timespec { tv_sec: 0, tv_nsec: 0 };
const LONG: Timespec = Timespec { tv_sec: 10, tv_nsec: 0 };

/// True once the driver's descriptor is readable, as `poll(2)` sees it.
fn is_readable(driver: &Driver, limit: Timespec) -> bool {
    let mut fds = [PollFd::new(driver, PollFlags::IN)];
    rustix::event::poll(&mut fds, Some(&limit)).expect("a poll") == 1
}

/// What a foreign event loop does before it waits.
fn collect(driver: &Driver) {
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    while driver.has_pending() {
        driver.turn(Some(Duration::ZERO)).expect("a turn");
    }
}

/// A recv that the kernel has, and the socket that will end it.
fn receiving(driver: &Driver) -> (OpFuture<ops::Recv>, UnixStream) {
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    let socket = SharedFd::new(OwnedFd::from(ours));
    let recv = driver.handle().submit(ops::Recv { socket, bytes: vec![0; 8], witness: Rc::new(()) });
    collect(driver);
    (recv, theirs)
}

/// Runs `work` on another thread once this one sleeps in the kernel.
fn when_asleep(work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let sleeper = gettid();
    let (start, started) = mpsc::channel();
    let helper = thread::spawn(move || {
        start.send(()).expect("it waits");
        while !is_asleep(sleeper) {
            thread::yield_now();
        }
        work();
    });
    started.recv().expect("started");
    helper
}

#[test]
fn the_descriptor_is_readable_once_a_completion_is_there() {
    let Some(driver) = ring("the_descriptor_is_readable_once_a_completion_is_there", 8) else { return };
    let _ = driver.as_fd();
    let (mut recv, mut theirs) = receiving(&driver);
    for _ in 0..3 {
        assert!(!is_readable(&driver, NOW), "nothing is there");
        theirs.write_all(b"x").expect("sent");
        assert!(is_readable(&driver, LONG), "on a ring that is {}", driver.report());
        driver.turn(Some(Duration::ZERO)).expect("a turn");
        assert!(poll(&mut recv).is_ready());
        (recv, theirs) = receiving(&driver);
    }
}

/// The trap: with deferred task work nothing is posted, and nobody is told, until the ring is entered.
#[test]
fn a_poll_that_sleeps_on_the_descriptor_is_woken_by_a_completion() {
    let name = "a_poll_that_sleeps_on_the_descriptor_is_woken_by_a_completion";
    let Some(driver) = ring(name, 8) else { return };
    let _ = driver.as_fd();
    for _ in 0..3 {
        let (mut recv, mut theirs) = receiving(&driver);
        let helper = when_asleep(move || theirs.write_all(b"x").expect("sent"));
        let start = Instant::now();
        assert!(is_readable(&driver, LONG), "on a ring that is {}", driver.report());
        assert!(start.elapsed() < Duration::from_secs(5));
        turn_until(&driver, || poll(&mut recv).is_ready());
        helper.join().expect("it wrote");
        collect(&driver);
    }
}

#[test]
fn an_epoll_that_watches_the_descriptor_is_woken_by_a_completion() {
    use rustix::event::epoll;
    let name = "an_epoll_that_watches_the_descriptor_is_woken_by_a_completion";
    let Some(driver) = ring(name, 8) else { return };
    let outer = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
    epoll::add(&outer, driver.as_fd(), epoll::EventData::new_u64(1), epoll::EventFlags::IN).expect("added");
    for _ in 0..3 {
        let (mut recv, mut theirs) = receiving(&driver);
        let helper = when_asleep(move || theirs.write_all(b"x").expect("sent"));
        let mut events = Vec::with_capacity(4);
        let start = Instant::now();
        let waited = epoll::wait(&outer, rustix::buffer::spare_capacity(&mut events), Some(&LONG));
        assert!(start.elapsed() < Duration::from_secs(5));
        // Task work of the ring may interrupt it: that is a wake-up too.
        assert!(waited == Err(rustix::io::Errno::INTR) || events.len() == 1, "{waited:?}");
        turn_until(&driver, || poll(&mut recv).is_ready());
        helper.join().expect("it wrote");
        collect(&driver);
    }
}

#[test]
fn an_unpark_makes_the_descriptor_readable() {
    let Some(driver) = ring("an_unpark_makes_the_descriptor_readable", 8) else { return };
    let _ = driver.as_fd();
    collect(&driver);
    for _ in 0..3 {
        assert!(!is_readable(&driver, NOW));
        driver.handle().unparker().unpark();
        assert!(is_readable(&driver, LONG));
        collect(&driver);
    }
}

#[test]
fn an_unpark_before_the_park_ends_it_and_counts_once() {
    let Some(driver) = ring("an_unpark_before_the_park_ends_it_and_counts_once", 8) else { return };
    let unparker = driver.handle().unparker();
    for _ in 0..5 {
        unparker.unpark();
        unparker.unpark();
        let start = Instant::now();
        driver.turn(Some(patience())).expect("a turn");
        assert!(start.elapsed() < patience() / 2);
    }
    collect(&driver);
    let start = Instant::now();
    driver.turn(Some(Duration::from_millis(5))).expect("a turn");
    assert!(start.elapsed() >= Duration::from_millis(5), "an old unpark ends no later park");
}

#[test]
fn an_unpark_during_the_park_ends_it() {
    let Some(driver) = ring("an_unpark_during_the_park_ends_it", 8) else { return };
    for _ in 0..5 {
        collect(&driver);
        let unparker = driver.handle().unparker();
        let helper = when_asleep(move || unparker.unpark());
        let start = Instant::now();
        driver.turn(Some(patience())).expect("a turn");
        assert!(start.elapsed() < patience() / 2);
        helper.join().expect("it unparked");
    }
}

/// The trap: the wake-up poll finds no room in a queue that is exactly full.
#[test]
fn an_unpark_ends_a_park_that_submits_a_full_queue() {
    let Some(driver) = ring("an_unpark_ends_a_park_that_submits_a_full_queue", 8) else { return };
    let futures: Vec<_> =
        (0..8).map(|_| driver.handle().submit(ops::Timeout::after(Duration::from_secs(60)))).collect();
    driver.handle().unparker().unpark();
    let start = Instant::now();
    driver.turn(Some(patience())).expect("a turn");
    assert!(start.elapsed() < patience() / 2);
    drop(futures);
}

#[test]
fn a_park_ends_at_its_deadline() {
    let Some(driver) = ring("a_park_ends_at_its_deadline", 8) else { return };
    collect(&driver);
    let start = Instant::now();
    assert_eq!(driver.turn(Some(Duration::from_millis(3))).expect("a turn"), 0);
    assert!(start.elapsed() >= Duration::from_millis(3));
}

#[test]
fn an_unparker_outlives_its_driver() {
    let Some(driver) = ring("an_unparker_outlives_its_driver", 8) else { return };
    let unparker = driver.handle().unparker();
    drop(driver);
    thread::spawn(move || unparker.unpark()).join().expect("nothing happens");
}
