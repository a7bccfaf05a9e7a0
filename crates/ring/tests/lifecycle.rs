//! Who owns the memory now? On a scripted backend: the test decides what the kernel does.
//!
//! Every payload checks when it is freed that the backend does not have it, see
//! `support/watched.rs`; so each test here proves that too.

mod support;

use std::task::Poll;

use support::script::{Cancels, MORE};
use support::watched::{Did, Many, Patient, World};
use support::{Bell, poll, poll_with, ready};

#[test]
fn an_operation_resolves_once_with_its_result_and_its_payload() {
    let world = World::new(8);
    let (bell, waker) = Bell::new();
    let mut future = world.handle().submit(world.one(1));
    assert!(poll_with(&mut future, &waker).is_pending());
    world.finish(1, 42, 0);
    assert_eq!(bell.rings(), 1);
    let (product, watch) = ready(&mut future);
    assert_eq!((product.keep(), world.freed(1)), (42, 0), "the payload is the caller's now");
    drop(watch);
    drop(future);
    assert_eq!(*world.log.borrow(), [Did::Asked(1), Did::Freed(1)]);
    world.assert_rest();
}

#[test]
fn dropping_a_queued_operation_frees_it_at_once_and_never_submits_it() {
    let world = World::full();
    let future = world.handle().submit(world.one(1));
    assert_eq!(world.handle().stats().backlogged, 1);
    drop(future);
    assert_eq!(world.freed(1), 1);
    world.unblock();
    world.turn();
    assert!(world.script.borrow().accepted.is_empty());
    world.assert_rest();
}

/// The trap: a write that was polled is lost because the queue was full, and nobody is told.
#[test]
fn an_operation_that_runs_to_its_end_is_sent_though_its_future_was_dropped_before_there_was_room() {
    let world = World::full();
    drop(world.handle().submit(Patient { watch: world.watch(1), bulk: [7; 200] }));
    world.turn();
    assert_eq!((world.freed(1), world.handle().stats().in_flight), (0, 1), "it waits for room");
    world.unblock();
    world.turn();
    assert_eq!(world.script.borrow().accepted, [1]);
    assert_eq!(world.freed(1), 0, "the backend has it");
    world.finish(1, 5, 0);
    assert!(world.script.borrow().cancelled.is_empty());
    assert_eq!((world.freed(1), world.dropped()), (1, vec![5]));
    world.assert_rest();
}

#[test]
fn dropping_an_operation_in_flight_cancels_it_and_frees_it_with_its_last_completion() {
    let world = World::new(8);
    drop(world.handle().submit(world.one(1)));
    assert_eq!(world.freed(1), 0, "the backend has it");
    world.turn();
    assert_eq!(world.script.borrow().cancelled, [Some(1)]);
    assert_eq!(world.freed(1), 1);
    assert_eq!(world.dropped(), [-libc::ECANCELED]);
    world.assert_rest();
}

/// The trap: the cancel loses, and the late result owns something.
#[test]
fn a_late_result_of_an_orphan_is_disposed_of_before_its_payload() {
    for cancels in [Cancels::Lose, Cancels::Tie(7)] {
        let world = World::new(8);
        world.script.borrow_mut().cancels = cancels;
        drop(world.handle().submit(world.one(1)));
        world.turn();
        if cancels == Cancels::Lose {
            assert_eq!(world.freed(1), 0, "the cancel lost: the backend still has it");
            world.finish(1, 7, 0);
        }
        assert_eq!(*world.log.borrow(), [Did::Asked(1), Did::Dropped(7), Did::Freed(1)]);
        world.assert_rest();
    }
}

#[test]
fn dropping_a_ready_operation_disposes_of_its_result() {
    let world = World::new(8);
    let future = world.handle().submit(world.one(1));
    world.finish(1, 9, 0);
    assert_eq!(world.freed(1), 0);
    drop(future);
    assert_eq!(*world.log.borrow(), [Did::Asked(1), Did::Dropped(9), Did::Freed(1)]);
    world.assert_rest();
}

#[test]
fn an_operation_that_wants_to_run_is_not_cancelled_by_a_drop() {
    let world = World::new(8);
    drop(world.handle().submit(Patient { watch: world.watch(1), bulk: [7; 200] }));
    world.turn();
    assert!(world.script.borrow().cancelled.is_empty());
    world.finish(1, 3, 0);
    assert_eq!((world.dropped(), world.freed(1)), (vec![3], 1));
    world.assert_rest();
}

#[test]
fn a_forgotten_future_leaks_at_worst() {
    let world = World::new(8);
    std::mem::forget(world.handle().submit(world.one(1)));
    world.finish(1, 3, 0);
    assert_eq!(world.freed(1), 0);
    drop(world.driver.take());
}

#[test]
fn a_stale_completion_is_counted_and_reaches_nobody() {
    let world = World::new(8);
    let mut first = world.handle().submit(world.one(1));
    let stale = world.script.borrow().token(1);
    world.finish(1, 1, 0);
    assert_eq!(ready(&mut first).0.keep(), 1);
    // The slot has a new tenant, and the old token comes again.
    let mut second = world.handle().submit(world.one(2));
    assert_ne!(world.script.borrow().token(2), stale);
    world.script.borrow_mut().forge(stale, 99, 0);
    world.turn();
    assert!(poll(&mut second).is_pending());
    assert_eq!(world.handle().stats().stale, 1);
    world.finish(2, 2, 0);
    assert_eq!(ready(&mut second).0.keep(), 2);
    world.assert_rest();
}

/// The trap: the cancel of a dropped future finds the queue full, and nobody is left to repeat it.
#[test]
fn a_cancel_that_finds_the_queue_full_is_sent_later() {
    let world = World::new(2);
    let futures = [1, 2].map(|number| world.handle().submit(world.one(number)));
    world.script.borrow_mut().consumes = false;
    drop(futures);
    world.turn();
    world.turn();
    assert!(world.script.borrow().cancelled.is_empty());
    assert!(world.driver.borrow().as_ref().expect("a driver").has_pending());
    world.script.borrow_mut().consumes = true;
    world.turn();
    world.turn();
    assert_eq!(world.script.borrow().cancelled, [Some(1), Some(2)]);
    assert_eq!((world.freed(1), world.freed(2)), (1, 1));
    world.assert_rest();
}

#[test]
fn a_turn_does_not_wait_while_something_could_not_be_handed_over() {
    let world = World::new(1);
    world.script.borrow_mut().consumes = false;
    let futures = [1, 2].map(|number| world.handle().submit(world.one(number)));
    let driver = world.driver.borrow();
    driver.as_ref().expect("a driver").turn(None).expect("a turn");
    assert!(world.script.borrow().parks.iter().all(|timeout| timeout.is_some_and(|time| time.is_zero())));
    world.script.borrow_mut().consumes = true;
    drop(futures);
}

#[test]
fn a_cancel_before_the_hand_over_resolves_and_is_never_submitted() {
    let world = World::full();
    let (bell, waker) = Bell::new();
    let mut future = world.handle().submit(world.one(1));
    assert!(poll_with(&mut future, &waker).is_pending());
    future.request_cancel();
    assert_eq!(bell.rings(), 1);
    let (product, watch) = ready(&mut future);
    assert_eq!(product.keep(), -libc::ECANCELED);
    drop(watch);
    world.unblock();
    world.turn();
    assert!(world.script.borrow().accepted.is_empty());
    world.assert_rest();
}

#[test]
fn a_cancel_of_a_multishot_before_the_hand_over_ends_its_stream() {
    let world = World::full();
    let mut stream = world.handle().submit_multi(world.many(1));
    stream.request_cancel();
    stream.request_cancel();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Some(item)) = stream.poll_item(&mut cx) else { panic!("the refusal is an item") };
    assert_eq!(item.keep(), -libc::ECANCELED);
    assert!(matches!(stream.poll_item(&mut cx), Poll::Ready(None)));
    assert_eq!(world.freed(1), 1);
    world.assert_rest();
}

#[test]
fn an_explicit_cancel_leaves_the_result_to_the_completion() {
    for (cancels, result) in [(Cancels::Win, -libc::ECANCELED), (Cancels::Tie(5), 5)] {
        let world = World::new(8);
        world.script.borrow_mut().cancels = cancels;
        let mut future = world.handle().submit(world.one(1));
        future.request_cancel();
        assert!(poll(&mut future).is_pending(), "a cancel is a hint");
        world.turn();
        assert_eq!(ready(&mut future).0.keep(), result);
        world.assert_rest();
    }
}

#[test]
fn a_cancel_after_the_result_is_there_does_nothing() {
    let world = World::new(8);
    let mut future = world.handle().submit(world.one(1));
    world.finish(1, 5, 0);
    future.request_cancel();
    world.turn();
    assert!(world.script.borrow().cancelled.is_empty());
    assert_eq!(ready(&mut future).0.keep(), 5);
}

/// The trap: the pending cancel of an operation that ended meanwhile hits the next tenant of its slot.
#[test]
fn a_pending_cancel_is_forgotten_with_its_operation() {
    let world = World::new(1);
    let first = world.handle().submit(world.one(1));
    world.script.borrow_mut().consumes = false;
    drop(first);
    world.finish(1, 0, 0);
    world.unblock();
    let mut second = world.handle().submit(world.one(2));
    world.script.borrow_mut().consumes = true;
    world.turn();
    assert!(world.script.borrow().cancelled.iter().all(Option::is_none));
    world.finish(2, 6, 0);
    assert_eq!(ready(&mut second).0.keep(), 6);
    world.assert_rest();
}

#[test]
fn the_request_of_an_operation_that_found_no_room_is_made_again() {
    let world = World::full();
    let mut future = world.handle().submit(world.one(1));
    let asked = world.log.borrow().len();
    assert!(asked >= 1);
    world.unblock();
    world.turn();
    assert_eq!(world.log.borrow().len(), asked + 1);
    assert_eq!(world.script.borrow().accepted, [1]);
    world.finish(1, 8, 0);
    assert_eq!(ready(&mut future).0.keep(), 8);
}

#[test]
fn the_backlog_is_handed_over_in_order_and_nobody_overtakes_it() {
    let world = World::new(2);
    world.script.borrow_mut().consumes = false;
    let mut futures: Vec<_> = (1..=6)
        .map(|number| world.handle().submit(Patient { watch: world.watch(number), bulk: [7; 200] }))
        .collect();
    assert_eq!(world.script.borrow().accepted, [1, 2]);
    drop(futures.remove(3));
    world.script.borrow_mut().consumes = true;
    futures.push(world.handle().submit(Patient { watch: world.watch(7), bulk: [7; 200] }));
    while world.handle().stats().in_flight > world.script.borrow().accepted.len() as u64 {
        world.turn();
    }
    assert_eq!(
        world.script.borrow().accepted,
        [1, 2, 3, 4, 5, 6, 7],
        "the fourth is one that runs to its end"
    );
    for number in [1, 2, 3, 4, 5, 6, 7] {
        world.complete(number, number as i32, 0);
    }
    world.turn();
    let results: Vec<_> = futures.iter_mut().map(|future| ready(future).0.keep()).collect();
    assert_eq!(results, [1, 2, 3, 5, 6, 7]);
    world.assert_rest();
}

#[test]
fn a_detached_operation_resolves_with_the_completion_and_drops_its_payload() {
    let world = World::new(8);
    let mut detached = world.handle().submit(world.one(1)).detach();
    assert!(poll(&mut detached).is_pending());
    world.finish(1, 4, 0);
    assert_eq!(world.freed(1), 0);
    assert_eq!(ready(&mut detached).result, 4);
    assert_eq!((world.dropped(), world.freed(1)), (vec![4], 1));
    drop(detached);
    world.assert_rest();

    drop(world.handle().submit(world.one(2)).detach());
    world.turn();
    assert_eq!(world.script.borrow().cancelled, [Some(2)], "dropping it cancels, as before");
    assert_eq!(world.freed(2), 1);
    world.assert_rest();
}

/// The trap: a full completion queue ends a multishot with a completion that carries a product.
#[test]
fn the_last_completion_of_a_multishot_is_an_item_too() {
    let world = World::new(8);
    let mut stream = world.handle().submit_multi(world.many(1));
    world.complete(1, 10, MORE);
    world.finish(1, 11, 0);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    for result in [10, 11] {
        let Poll::Ready(Some(item)) = stream.poll_item(&mut cx) else { panic!("item {result}") };
        assert_eq!(item.keep(), result);
    }
    assert_eq!(world.freed(1), 0);
    assert!(matches!(stream.poll_item(&mut cx), Poll::Ready(None)));
    assert_eq!(world.freed(1), 1);
    assert!(matches!(stream.poll_item(&mut cx), Poll::Ready(None)), "it stays at its end");
    world.assert_rest();
}

#[test]
fn items_that_nobody_took_are_disposed_of_in_order_then_those_that_come_late() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    let mut stream = world.handle().submit_multi(world.many(1));
    for result in 20..24 {
        world.complete(1, result, MORE);
    }
    world.turn();
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let Poll::Ready(Some(item)) = stream.poll_item(&mut cx) else { panic!("an item") };
    assert_eq!(item.keep(), 20);
    drop(stream);
    world.finish(1, 24, MORE);
    assert_eq!(world.freed(1), 0);
    world.finish(1, 25, 0);
    let mut dropped = world.dropped();
    assert_eq!(dropped.pop(), Some(25), "the last one is last");
    dropped.sort_unstable();
    assert_eq!(dropped, [21, 22, 23, 24]);
    assert_eq!(world.log.borrow().last(), Some(&Did::Freed(1)));
    world.assert_rest();
}

#[test]
fn items_of_a_stream_that_ended_are_disposed_of_in_order() {
    let world = World::new(8);
    let stream = world.handle().submit_multi(world.many(1));
    for result in 30..33 {
        world.complete(1, result, MORE);
    }
    world.finish(1, 33, 0);
    drop(stream);
    assert_eq!((world.dropped(), world.freed(1)), (vec![30, 31, 32, 33], 1));
    world.assert_rest();
}

#[test]
fn a_multishot_with_too_many_items_is_cancelled_once_and_loses_none() {
    let world = World::new(8);
    world.script.borrow_mut().cancels = Cancels::Lose;
    let mut stream = world.handle().submit_multi(Many::<3>(world.watch(1)));
    for result in 0..2 {
        world.complete(1, result, MORE);
    }
    world.turn();
    world.turn();
    assert!(world.script.borrow().cancelled.is_empty(), "two may wait");
    for result in 2..6 {
        world.finish(1, result, MORE);
    }
    world.turn();
    assert_eq!(world.script.borrow().cancelled, [Some(1)]);
    world.finish(1, -libc::ECANCELED, 0);
    let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
    let mut results = Vec::new();
    while let Poll::Ready(Some(item)) = stream.poll_item(&mut cx) {
        results.push(item.keep());
    }
    assert_eq!(results, [0, 1, 2, 3, 4, 5, -libc::ECANCELED]);
    world.assert_rest();
}
