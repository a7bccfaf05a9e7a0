//! A result that comes before its memory is back: zero-copy sends, on a scripted backend.

mod support;

use std::task::{Context, Poll, Waker};

use coronet_ring::EarlyOp;
use support::script::{Cancels, MORE, NOTIFICATION};
use support::watched::World;
use support::{Bell, poll, poll_with, ready};

#[test]
fn dropping_a_settling_operation_keeps_its_memory_until_the_notification() {
    let world = World::new(8);
    let mut future = world.handle().submit(world.one(1));
    world.finish(1, 100, MORE);
    assert!(poll(&mut future).is_pending(), "the memory is not back");
    drop(future);
    world.turn();
    assert!(world.script.borrow().cancelled.is_empty(), "there is nothing left to cancel");
    assert_eq!(world.freed(1), 0);
    world.finish(1, 0, NOTIFICATION);
    assert_eq!((world.dropped(), world.freed(1)), (vec![100], 1), "the early result is the result");
    world.assert_rest();
}

#[test]
fn a_settling_operation_resolves_with_its_early_result() {
    let world = World::new(8);
    let mut future = world.handle().submit(world.one(1));
    world.finish(1, -libc::ENOMEM, MORE);
    assert!(poll(&mut future).is_pending(), "the memory is not back");
    world.finish(1, 0, NOTIFICATION);
    assert_eq!(ready(&mut future).0.keep(), -libc::ENOMEM);
    world.assert_rest();
}

#[test]
fn an_early_result_is_told_at_once_and_the_memory_comes_with_the_notification() {
    let world = World::new(8);
    let (bell, waker) = Bell::new();
    let mut future = world.handle().submit(world.one(1)).early();
    let look = |future: &mut EarlyOp<_>| future.poll_result(&mut Context::from_waker(&waker));
    assert!(look(&mut future).is_pending());
    world.finish(1, 100, MORE);
    assert_eq!(bell.rings(), 1);
    let told = look(&mut future);
    assert!(matches!(told, Poll::Ready(done) if done.result == 100 && done.has_more()), "{told:?}");
    assert_eq!(world.freed(1), 0);
    assert!(poll_with(&mut future, &waker).is_pending(), "the memory is not back");
    world.finish(1, i32::MIN, NOTIFICATION);
    assert_eq!(bell.rings(), 2);
    let told = look(&mut future);
    assert!(matches!(told, Poll::Ready(done) if done.result == 100 && done.was_copied()), "{told:?}");
    assert_eq!(ready(&mut future).0.keep(), 100);
    world.assert_rest();
}

#[test]
fn a_future_that_was_told_and_is_dropped_has_been_delivered() {
    for notified_before in [false, true] {
        let world = World::new(8);
        let mut future = world.handle().submit(world.one(1)).early();
        world.finish(1, 100, MORE);
        assert!(future.poll_result(&mut Context::from_waker(Waker::noop())).is_ready());
        if notified_before {
            world.finish(1, 0, NOTIFICATION);
        }
        drop(future);
        assert_eq!(world.freed(1), usize::from(notified_before));
        if !notified_before {
            world.finish(1, 0, NOTIFICATION);
        }
        assert_eq!(world.freed(1), 1);
        let stats = world.handle().stats();
        assert_eq!((stats.delivered, stats.orphaned), (1, 0));
        world.assert_rest();
    }
}

#[test]
fn a_detached_operation_does_not_wait_for_its_notification() {
    let world = World::new(8);
    let mut detached = world.handle().submit(world.one(1)).detach();
    world.finish(1, 100, MORE);
    assert_eq!(ready(&mut detached).result, 100);
    drop(detached);
    let stats = world.handle().stats();
    assert_eq!((stats.delivered, stats.orphaned, stats.in_flight), (1, 0, 1));
    assert_eq!(world.freed(1), 0, "the backend reads it until the notification");
    world.finish(1, 0, NOTIFICATION);
    assert_eq!(world.freed(1), 1);
    world.assert_rest();
}

/// The trap: the number of a slot that the notification of an earlier operation names.
#[test]
fn a_notification_of_an_operation_that_is_over_reaches_nobody() {
    let world = World::new(8);
    let mut first = world.handle().submit(world.one(1));
    world.turn();
    let stale = world.script.borrow().token(1);
    world.finish(1, 5, 0);
    assert_eq!(ready(&mut first).0.keep(), 5);
    let mut second = world.handle().submit(world.one(2)).early();
    world.finish(2, 100, MORE);
    world.script.borrow_mut().forge(stale, i32::MIN, NOTIFICATION);
    world.turn();
    assert_eq!(world.handle().stats().stale, 1);
    assert!(poll(&mut second).is_pending(), "its own notification has not come");
    world.finish(2, 0, NOTIFICATION);
    assert_eq!(ready(&mut second).0.keep(), 100);
    world.assert_rest();
}

#[test]
fn zero_copy_sends_are_counted_from_their_result_to_their_notification() {
    let world = World::new(8);
    let sends = [1, 2, 3].map(|number| world.handle().submit(world.one(number)).detach());
    world.finish(1, 100, MORE);
    world.finish(2, 100, MORE);
    world.finish(3, -libc::ENOMEM, MORE);
    let stats = world.handle().stats();
    assert_eq!((stats.zero_copy_sent, stats.zero_copy_copied, stats.zero_copy_lent), (2, 0, 3));
    world.finish(2, i32::MIN, NOTIFICATION);
    world.finish(1, 0, NOTIFICATION);
    world.finish(3, 0, NOTIFICATION);
    let stats = world.handle().stats();
    assert_eq!((stats.zero_copy_sent, stats.zero_copy_copied, stats.zero_copy_lent), (2, 1, 0));
    assert!(stats.zero_copy_lent_us_max <= stats.zero_copy_lent_us);
    drop(sends);
    world.assert_rest();
}

#[test]
fn an_orphan_that_settles_is_freed_with_its_notification() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    drop(world.handle().submit(world.one(1)));
    world.finish(1, 100, MORE);
    assert_eq!(world.freed(1), 0);
    world.finish(1, 0, NOTIFICATION);
    assert_eq!((world.dropped(), world.freed(1)), (vec![100], 1));
    world.assert_rest();
}
