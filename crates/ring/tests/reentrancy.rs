//! Wakers and drops that use the driver, and those that panic: the driver stays whole.

mod support;

use std::cell::{Cell, RefCell};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use coronet_ring::{Done, MultiOp, Op, Request};
use support::script::{Cancels, MORE};
use support::watched::{Did, One, World};
use support::{Bell, forget_wakers, poll, poll_with, ready, waker_that};

/// Runs `work` whenever a payload or a product is dropped.
fn on_drop(world: &World, work: impl FnMut(Did) + 'static) {
    *world.hook.borrow_mut() = Some(Box::new(work));
}

fn quietly<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .map_err(|panic| panic.downcast_ref::<&str>().map_or_else(String::new, |text| (*text).to_owned()))
}

#[test]
fn a_waker_that_submits_from_within_the_wake_works() {
    let world = World::new(1);
    let (handle, next) = (world.handle(), Rc::new(RefCell::new(Vec::new())));
    let (second, third) = (Cell::new(Some(world.one(2))), Cell::new(Some(world.one(3))));
    let futures = next.clone();
    let waker = waker_that(move || {
        futures.borrow_mut().push(handle.submit(second.take().expect("woken once")));
        futures.borrow_mut().push(handle.submit(third.take().expect("woken once")));
    });
    let mut first = world.handle().submit(world.one(1));
    assert!(poll_with(&mut first, &waker).is_pending());
    world.finish(1, 1, 0);
    assert_eq!(ready(&mut first).0.keep(), 1);
    assert_eq!(world.script.borrow().accepted, [1, 2, 3]);
    world.complete(3, 3, 0);
    world.finish(2, 2, 0);
    let results: Vec<_> = next.borrow_mut().iter_mut().map(|future| ready(future).0.keep()).collect();
    assert_eq!(results, [2, 3]);
    world.assert_rest();
    forget_wakers();
}

/// The trap: a task that is woken for one completion polls others of the same batch at once.
#[test]
fn wakers_run_after_the_whole_batch_is_applied() {
    let world = World::new(8);
    let other = Rc::new(RefCell::new(world.handle().submit(world.one(2))));
    let (seen, polled) = (Rc::new(Cell::new(false)), other.clone());
    let note = seen.clone();
    let waker = waker_that(move || note.set(poll(&mut *polled.borrow_mut()).is_ready()));
    let mut first = world.handle().submit(world.one(1));
    assert!(poll_with(&mut first, &waker).is_pending());
    world.complete(1, 1, 0);
    world.finish(2, 2, 0);
    assert!(seen.get(), "the completion behind it was applied before the wake");
    drop(first);
    forget_wakers();
}

#[test]
fn a_waker_may_turn_the_driver() {
    let world = World::new(8);
    let driver = world.driver.clone();
    let waker = waker_that(move || {
        let driver = driver.borrow();
        driver.as_ref().expect("a driver").turn(None).expect("a turn");
    });
    let mut first = world.handle().submit(world.one(1));
    assert!(poll_with(&mut first, &waker).is_pending());
    world.finish(1, 1, 0);
    assert_eq!(ready(&mut first).0.keep(), 1);
    forget_wakers();
}

#[test]
fn a_payload_whose_drop_submits_another_operation_works() {
    let world = World::new(8);
    let (handle, script, log) = (world.handle(), world.script.clone(), world.log.clone());
    let second = Cell::new(Some(world.one(2)));
    on_drop(&world, move |did| {
        if did == Did::Freed(1) {
            drop(handle.submit(second.take().expect("freed once")));
            assert!(script.borrow().is_lent(2));
            assert!(!log.borrow().contains(&Did::Freed(2)));
        }
    });
    drop(world.handle().submit(world.one(1)));
    world.turn();
    assert_eq!((world.freed(1), world.freed(2)), (1, 0));
    world.turn();
    assert_eq!(world.freed(2), 1);
    world.assert_rest();
}

/// The trap: the drop of one orphan's item turns the driver. The last completion of another
/// orphan comes in that turn, while an item of it still waits to be disposed of further up.
#[test]
fn an_item_is_disposed_of_before_its_operation_even_if_a_drop_turns_the_driver() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    drop(world.handle().submit_multi(world.many(1)));
    drop(world.handle().submit_multi(world.many(2)));
    let (driver, script) = (world.driver.clone(), world.script.clone());
    on_drop(&world, move |did| {
        if did == Did::Dropped(10) {
            script.borrow_mut().complete(2, 21, 0);
            let driver = driver.borrow();
            driver.as_ref().expect("a driver").turn(None).expect("a turn");
        }
    });
    world.complete(1, 10, MORE);
    world.finish(2, 20, MORE);
    let log: Vec<_> = world.log.borrow().iter().copied().skip(2).collect();
    assert_eq!(log, [Did::Dropped(10), Did::Dropped(20), Did::Dropped(21), Did::Freed(2)]);
    world.finish(1, 11, 0);
    world.assert_rest();
}

/// The trap: one payload panics in its drop; those behind it, and the wakers, are lost.
#[test]
fn a_panic_in_a_drop_loses_neither_other_payloads_nor_wakes() {
    let world = World::new(8);
    let (bell, waker) = Bell::new();
    for number in [1, 2] {
        drop(world.handle().submit(world.one(number)));
    }
    let mut third = world.handle().submit(world.one(3));
    assert!(poll_with(&mut third, &waker).is_pending());
    on_drop(&world, |did| assert_ne!(did, Did::Freed(1), "on purpose"));
    world.complete(3, 3, 0);
    assert!(quietly(|| world.turn()).is_err());
    assert!(world.driver.borrow().as_ref().expect("a driver").has_pending());
    let limit = world.driver.borrow().as_ref().map(|driver| driver.turn(None).expect("a turn"));
    assert_eq!(limit, Some(0));
    assert_eq!(world.script.borrow().parks.last(), Some(&Some(std::time::Duration::ZERO)), "it did not wait");
    assert_eq!((world.freed(2), bell.rings()), (1, 1));
    assert_eq!(ready(&mut third).0.keep(), 3);
    world.assert_rest();
}

#[test]
fn a_waker_that_panics_does_not_keep_the_others_asleep() {
    let world = World::new(8);
    let (bell, waker) = Bell::new();
    let bomb = waker_that(|| panic!("on purpose"));
    let mut futures = [1, 2].map(|number| world.handle().submit(world.one(number)));
    assert!(poll_with(&mut futures[0], &bomb).is_pending());
    assert!(poll_with(&mut futures[1], &waker).is_pending());
    world.complete(1, 1, 0);
    world.complete(2, 2, 0);
    assert_eq!(quietly(|| world.turn()), Err("on purpose".to_owned()));
    assert!(world.driver.borrow().as_ref().expect("a driver").has_pending());
    world.turn();
    assert_eq!(bell.rings(), 1);
    for (future, result) in futures.iter_mut().zip([1, 2]) {
        assert_eq!(ready(future).0.keep(), result);
    }
    world.assert_rest();
}

/// Panics where it is told to.
struct Bomb {
    inner: One,
    in_request: bool,
}

impl Op for Bomb {
    type Output = ();

    fn request(&mut self) -> Request<'_> {
        assert!(!self.in_request, "on purpose");
        self.inner.request()
    }

    fn finish(self, _: Done<Self>) {
        panic!("on purpose");
    }
}

#[test]
fn an_operation_whose_request_panics_is_dropped_and_the_driver_goes_on() {
    let world = World::new(8);
    let bomb = Bomb { inner: world.one(1), in_request: true };
    let handle = world.handle();
    assert!(quietly(|| drop(handle.submit(bomb))).is_err());
    assert_eq!(world.freed(1), 1);
    world.assert_rest();
    let mut second = handle.submit(world.one(2));
    world.finish(2, 2, 0);
    assert_eq!(ready(&mut second).0.keep(), 2);
    world.assert_rest();
}

#[test]
fn an_operation_in_the_backlog_whose_request_panics_does_so_once() {
    let world = World::new(1);
    world.script.borrow_mut().consumes = false;
    // A request is asked for at once, unless others wait already.
    let first = [1, 4].map(|number| world.handle().submit(world.one(number)));
    let second = world.handle().submit(Bomb { inner: world.one(2), in_request: true });
    let mut third = world.handle().submit(world.one(3));
    world.script.borrow_mut().consumes = true;
    world.unblock();
    assert!(quietly(|| world.turn()).is_err());
    world.turn();
    assert_eq!(world.script.borrow().accepted, [1, 4, 3]);
    world.finish(3, 3, 0);
    assert_eq!(ready(&mut third).0.keep(), 3);
    drop((first, second));
    assert_eq!(world.freed(2), 1, "it waits for a drop: nobody will ask it again");
    world.turn();
    world.assert_rest();
}

/// A one-shot request from an operation that was submitted as a multishot.
struct Impostor(One);

impl MultiOp for Impostor {
    type Item = ();

    fn request(&mut self) -> Request<'_> {
        self.0.request()
    }

    fn item(&self, _: Done<Self>) {}
}

#[test]
fn a_multishot_with_a_one_shot_request_is_refused_and_dropped() {
    let world = World::new(8);
    let (handle, impostor) = (world.handle(), Impostor(world.one(1)));
    assert!(quietly(|| drop(handle.submit_multi(impostor))).is_err());
    assert_eq!(world.freed(1), 1);
    assert!(world.script.borrow().accepted.is_empty());
    world.assert_rest();
}

#[test]
fn a_panic_in_finish_reaches_the_one_who_awaits_and_nobody_else() {
    let world = World::new(8);
    let mut bomb = world.handle().submit(Bomb { inner: world.one(1), in_request: false });
    let mut second = world.handle().submit(world.one(2));
    world.complete(1, 1, 0);
    world.finish(2, 2, 0);
    assert_eq!(quietly(|| poll(&mut bomb).is_ready()), Err("on purpose".to_owned()));
    assert_eq!(world.freed(1), 1);
    drop(bomb);
    assert_eq!(ready(&mut second).0.keep(), 2);
    world.assert_rest();
}

#[test]
fn a_panic_in_the_finish_of_an_orphan_leaves_the_driver_whole() {
    let world = World::new(8);
    drop(world.handle().submit(Bomb { inner: world.one(1), in_request: false }));
    drop(world.handle().submit(world.one(2)));
    assert!(quietly(|| world.turn()).is_err());
    world.turn();
    assert_eq!((world.freed(1), world.freed(2)), (1, 1));
    world.assert_rest();
}

/// The trap: `item` runs while the driver is busy, and what it drops may wake someone.
#[test]
fn a_stream_may_be_polled_from_a_waker_of_its_own() {
    let world = World::new(8);
    let stream = Rc::new(RefCell::new(world.handle().submit_multi(world.many(1))));
    let (taken, inner) = (Rc::new(RefCell::new(Vec::new())), stream.clone());
    let results = taken.clone();
    let waker = waker_that(move || {
        let mut cx = Context::from_waker(Waker::noop());
        while let Poll::Ready(Some(item)) = inner.borrow_mut().poll_item(&mut cx) {
            results.borrow_mut().push(item.keep());
        }
    });
    assert!(stream.borrow_mut().poll_item(&mut Context::from_waker(&waker)).is_pending());
    world.complete(1, 5, MORE);
    world.finish(1, 6, MORE);
    assert_eq!(*taken.borrow(), [5, 6]);
    forget_wakers();
}
