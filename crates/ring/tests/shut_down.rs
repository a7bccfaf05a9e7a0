//! The end of a driver: it drains, refuses, waits for those that want to run, and leaks
//! at the deadline. On a scripted backend.

mod support;

use std::rc::Rc;
use std::time::{Duration, Instant};

use coronet_ring::GroupConfig;
use support::script::{Cancels, Script, driver_within};
use support::watched::{Patient, World};
use support::{Bell, poll, poll_with, ready, waker_that};

/// A deadline that is over at once: the script needs no time.
const SHORT: Duration = Duration::from_millis(20);
const LONG: Duration = Duration::from_secs(60);

fn shut_down(world: &World, timeout: Duration) -> usize {
    let mut driver = world.driver.take().expect("a driver");
    let leaked = driver.shut_down(timeout);
    *world.driver.borrow_mut() = Some(driver);
    leaked
}

#[test]
fn what_is_in_flight_is_cancelled_and_its_futures_resolve() {
    let world = World::new(8);
    let (bell, waker) = Bell::new();
    let mut future = world.handle().submit(world.one(1));
    let orphan = world.handle().submit_multi(world.many(2));
    assert!(poll_with(&mut future, &waker).is_pending());
    drop(orphan);
    assert_eq!(shut_down(&world, LONG), 0);
    assert_eq!(bell.rings(), 1);
    assert_eq!(ready(&mut future).0.keep(), -libc::ECANCELED);
    assert_eq!(world.freed(2), 1);
    world.assert_rest();
}

#[test]
fn the_backlog_is_refused_and_gives_its_payloads_back() {
    let world = World::full();
    let (bell, waker) = Bell::new();
    let mut future = world.handle().submit(world.one(1));
    assert!(poll_with(&mut future, &waker).is_pending());
    assert_eq!(shut_down(&world, LONG), 0);
    assert_eq!(bell.rings(), 1);
    let (product, watch) = ready(&mut future);
    assert_eq!((product.keep(), world.freed(1)), (-libc::ECANCELED, 0));
    drop(watch);
    assert!(world.script.borrow().accepted.is_empty());
    world.assert_rest();
}

#[test]
fn the_drain_sends_what_runs_to_its_end_and_still_waits_for_room() {
    let world = World::full();
    drop(world.handle().submit(Patient { watch: world.watch(1), bulk: [7; 200] }));
    world.unblock();
    // The script ends nothing by itself, so the drain does in the end.
    assert_eq!(shut_down(&world, SHORT), 0);
    assert_eq!(world.script.borrow().accepted, [1]);
    assert_eq!((world.freed(1), world.dropped()), (1, vec![-libc::ECANCELED]));
    world.assert_rest();
}

/// The trap: a drain that waits for ever for room that never comes.
#[test]
fn what_never_finds_room_is_freed_when_the_drain_has_no_time_left() {
    let world = World::full();
    drop(world.handle().submit(Patient { watch: world.watch(1), bulk: [7; 200] }));
    assert_eq!(shut_down(&world, SHORT), 0);
    assert!(world.script.borrow().accepted.is_empty());
    assert_eq!((world.freed(1), world.dropped()), (1, vec![-libc::ECANCELED]));
    world.assert_rest();
}

#[test]
fn a_new_operation_is_refused_with_its_buffer() {
    let world = World::new(8);
    let handle = world.handle();
    assert!(!handle.is_closed());
    assert_eq!(shut_down(&world, LONG), 0);
    assert!(handle.is_closed());
    let (product, watch) = ready(&mut handle.submit(world.one(1)));
    assert_eq!((product.keep(), world.freed(1)), (-libc::ECANCELED, 0));
    drop(watch);
    drop(handle.submit(world.one(2)));
    assert_eq!(world.freed(2), 1);
    let config = GroupConfig { buffers: 1, buffers_max: 1, buffer_bytes: 1, incremental: false };
    let error = handle.open_group(config).expect_err("there is no ring");
    assert_eq!(error.kind(), std::io::ErrorKind::NotConnected);
    assert_eq!(world.turn(), 0);
    world.assert_rest();
}

/// The trap: a task that is woken by the drain submits its next operation.
#[test]
fn an_operation_submitted_during_the_drain_is_refused() {
    let world = World::new(8);
    let (handle, log) = (world.handle(), world.log.clone());
    let mut future = world.handle().submit(world.one(1));
    let next = world.watch(2);
    let mut next = Some(next);
    let waker = waker_that(move || {
        let watch = next.take().expect("woken once");
        let (product, watch) = ready(&mut handle.submit(support::watched::One(watch)));
        assert_eq!(product.keep(), -libc::ECANCELED);
        drop(watch);
    });
    assert!(poll_with(&mut future, &waker).is_pending());
    assert_eq!(shut_down(&world, LONG), 0);
    assert_eq!(world.script.borrow().accepted, [1]);
    assert!(log.borrow().contains(&support::watched::Did::Freed(2)));
    support::forget_wakers();
}

#[test]
fn an_operation_that_wants_to_run_gets_its_time() {
    let world = World::new(8);
    let mut future = world.handle().submit(Patient { watch: world.watch(1), bulk: [7; 200] });
    let mut turns = 0;
    world.script.borrow_mut().on_park = Some(Box::new(move |script: &mut Script| {
        turns += 1;
        if turns == 3 {
            script.complete(1, 77, 0);
        }
    }));
    assert_eq!(shut_down(&world, LONG), 0);
    assert!(world.script.borrow().cancelled.is_empty());
    let waited = world.script.borrow().parks.iter().flatten().max().copied().expect("it parked");
    assert!(waited > LONG / 2 && waited <= LONG / 4 * 3, "{waited:?}");
    assert_eq!(ready(&mut future).0.keep(), 77);
    world.assert_rest();
}

#[test]
fn an_operation_that_runs_too_long_is_cancelled_before_the_deadline() {
    let world = World::new(8);
    let start = Instant::now();
    let mut future = world.handle().submit(Patient { watch: world.watch(1), bulk: [7; 200] });
    assert_eq!(shut_down(&world, SHORT), 0);
    assert!(start.elapsed() >= SHORT / 4 * 3);
    assert_eq!(world.script.borrow().cancelled, [Some(1)]);
    assert_eq!(ready(&mut future).0.keep(), -libc::ECANCELED);
    world.assert_rest();
}

/// The trap: freeing at the deadline what the kernel still writes to.
#[test]
fn what_the_backend_keeps_is_leaked_and_counted() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    drop(world.handle().submit(world.one(1)));
    let mut kept = world.handle().submit(world.one(2));
    let handle = world.handle();
    assert_eq!(shut_down(&world, SHORT), 2);
    assert_eq!(handle.stats().leaked, 2);
    let start = Instant::now();
    drop(world.driver.take());
    assert!(start.elapsed() < Duration::from_secs(3), "the second end of a driver waits for nothing");
    assert!(poll(&mut kept).is_pending());
    drop((kept, handle));
    assert_eq!((world.freed(1), world.freed(2)), (0, 0), "the backend still has them");
    assert_eq!(world.script.borrow().groups_closed, 0);
}

#[test]
fn dropping_the_driver_shuts_it_down_within_its_own_time_limit() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    let driver = driver_within(&world.script, SHORT);
    let handle = driver.handle();
    drop(handle.submit(world.one(1)));
    let start = Instant::now();
    drop(driver);
    assert!(start.elapsed() >= SHORT && start.elapsed() < LONG);
    assert_eq!(handle.stats().leaked, 1);
    drop(handle);
    assert_eq!(world.freed(1), 0);
}

#[test]
fn a_backend_that_fails_during_the_drain_is_leaked_with_what_it_has() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    drop(world.handle().submit(world.one(1)));
    world.script.borrow_mut().fails = Some(std::io::ErrorKind::Other);
    assert_eq!(shut_down(&world, LONG), 1);
    assert_eq!(world.freed(1), 0);
}

#[test]
fn a_turn_that_fails_still_delivers_what_it_collected() {
    let world = World::new(8);
    let mut future = world.handle().submit(world.one(1));
    world.complete(1, 5, 0);
    world.script.borrow_mut().fails = Some(std::io::ErrorKind::Other);
    let turned = world.driver.borrow().as_ref().expect("a driver").turn(None);
    assert!(turned.is_err());
    assert_eq!(ready(&mut future).0.keep(), 5);
    world.script.borrow_mut().fails = None;
    world.assert_rest();
}

/// The trap: a panic in a waker cuts the drain short, and the ring is freed with its orphans in flight.
#[test]
fn a_panic_during_the_drain_leaks_what_is_in_flight() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    let bomb = waker_that(|| panic!("on purpose"));
    let mut future = world.handle().submit(world.one(1));
    assert!(poll_with(&mut future, &bomb).is_pending());
    drop(world.handle().submit(world.one(2)));
    let driver = world.driver.take().expect("a driver");
    world.complete(1, 0, 0);
    let dropped = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| drop(driver)));
    assert!(dropped.is_err());
    drop(future);
    assert_eq!(world.freed(2), 0);
    assert!(Rc::strong_count(&world.script) > 2, "the backend itself was kept, with what it has");
    assert_eq!(world.script.borrow().groups_closed, 0);
}

#[test]
fn a_driver_that_was_shut_down_lends_no_closed_descriptor() {
    let world = World::new(8);
    shut_down(&world, LONG);
    let driver = world.driver.borrow();
    let fd = std::os::fd::AsFd::as_fd(driver.as_ref().expect("a driver"));
    assert!(rustix::io::fcntl_getfd(fd).is_ok());
}

#[test]
fn a_forgotten_driver_frees_nothing() {
    let world = World::new(8);
    drop(world.handle().submit(world.one(1)));
    std::mem::forget(world.driver.take());
    assert_eq!(world.freed(1), 0);
}

#[test]
fn futures_may_outlive_their_driver() {
    let world = World::new(8);
    let mut future = world.handle().submit(world.one(1));
    drop(world.driver.take());
    assert_eq!(ready(&mut future).0.keep(), -libc::ECANCELED);
    assert_eq!(world.freed(1), 1);
}
