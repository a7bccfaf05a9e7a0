//! The bookkeeping, with completions made by hand.

use super::*;
use crate::pool::{Account, Lease};

fn group(buffers: u16, buffer_bytes: u32, incremental: bool) -> Group {
    made(GroupConfig { buffers, buffers_max: buffers, buffer_bytes, incremental })
}

fn made(config: GroupConfig) -> Group {
    Group { state: Rc::new(GroupState::new(GroupId::new(0, 1), config).expect("memory")) }
}

/// 4 buffers at first, 16 at most.
fn growing(buffer_bytes: u32) -> Group {
    made(GroupConfig { buffers: 4, buffers_max: 16, buffer_bytes, incremental: false })
}

/// One byte in the buffer that is next in the ring, held to the end of the turn.
fn pick(group: &Group) -> Lease {
    let lease = pick_in_turn(group, 1);
    end_turn(group);
    lease
}

/// So many bytes in the buffer that is next in the ring.
fn pick_in_turn(group: &Group, bytes: i32) -> Lease {
    let next = group.state.mirror[group.state.index(group.state.head.get())].get();
    arrive(group, next, bytes, false, false).pop().expect("bytes")
}

fn arrive(group: &Group, buffer: u16, result: i32, more: bool, bundle: bool) -> Vec<Lease> {
    let flags = 1 | (u32::from(more) << 4) | (u32::from(buffer) << 16);
    let mut done = Completion::new(result, flags);
    group.state.arrive(&mut done, bundle);
    group.state.was_picked_from();
    group.receive(Done::<()>::new(done, Some(group.id()))).collect()
}

/// The program had its turn; how many are woken because there is room.
fn end_turn(group: &Group) -> usize {
    let mut wakes = Vec::new();
    group.state.see_to_the_ring(&mut wakes);
    wakes.len()
}

#[test]
fn a_buffer_returns_to_the_ring_with_its_last_lease() {
    let group = group(4, 16, false);
    let mut leases = arrive(&group, 0, 10, false, false);
    let mut lease = leases.pop().expect("bytes");
    assert_eq!((lease.len(), group.available(), group.leased()), (10, 3, 1));
    let tail = lease.split_off(4);
    assert_eq!((lease.len(), tail.len()), (4, 6));
    drop(lease);
    assert_eq!(group.available(), 3, "the other half still holds it");
    drop(tail);
    assert_eq!((group.available(), group.leased()), (4, 0));
}

#[test]
fn an_error_that_comes_with_a_buffer_recycles_it() {
    let group = group(4, 16, false);
    assert!(arrive(&group, 0, -libc::ECONNRESET, false, false).is_empty());
    assert_eq!((group.available(), group.leased()), (4, 0));
}

#[test]
fn a_bundle_is_several_leases_in_ring_order() {
    let group = group(4, 16, false);
    // Buffers 1 and 0 come back in that order, behind 2 and 3.
    let first = arrive(&group, 0, 16, false, false);
    let second = arrive(&group, 1, 16, false, false);
    drop(second);
    drop(first);
    let leases = arrive(&group, 2, 16 * 3 + 1, false, true);
    let lengths: Vec<_> = leases.iter().map(|lease| lease.len()).collect();
    assert_eq!(lengths, [16, 16, 16, 1]);
    assert_eq!(group.available(), 0);
    drop(leases);
    assert_eq!(group.available(), 4);
}

#[test]
fn a_bundle_that_nobody_takes_is_given_back_whole() {
    let group = group(4, 16, false);
    let mut done = Completion::new(40, 1);
    group.state.arrive(&mut done, true);
    let mut received = group.receive(Done::<()>::new(done, Some(group.id())));
    drop(received.next());
    assert_eq!(group.available(), 2, "the first of three came back");
    drop(received);
    assert_eq!(group.available(), 4);
}

#[test]
fn an_incremental_buffer_returns_when_kernel_and_program_are_done() {
    let group = group(2, 100, true);
    let first = arrive(&group, 0, 30, true, false);
    let second = arrive(&group, 0, 30, true, false);
    drop(first);
    drop(second);
    assert_eq!((group.available(), group.leased()), (2, 0), "the kernel still has it");
    let last = arrive(&group, 0, 40, false, false);
    assert_eq!(group.available(), 1);
    drop(last);
    assert_eq!(group.available(), 2);
    let mut again = arrive(&group, 1, 5, true, false);
    assert_eq!(again.pop().expect("bytes").len(), 5);
}

#[test]
fn a_waiter_is_woken_when_a_buffer_returns_and_a_dropped_one_passes_it_on() {
    let group = group(1, 16, false);
    let leases = arrive(&group, 0, 1, false, false);
    let mut context = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (group.room(), group.room());
    assert!(Pin::new(&mut first).poll(&mut context).is_pending());
    assert!(Pin::new(&mut second).poll(&mut context).is_pending());
    drop(leases);
    assert_eq!(group.state.waiters.borrow().queue.len(), 1, "one wake for one buffer");
    drop(first);
    assert_eq!(group.state.waiters.borrow().queue.len(), 0, "passed on");
    assert!(Pin::new(&mut second).poll(&mut context).is_ready());
}

#[test]
fn positions_may_wrap() {
    let group = group(2, 8, false);
    for round in 0..70_000_u32 {
        let picked = (round % 2) as u16;
        assert_eq!(arrive(&group, picked, 8, false, false).len(), 1);
    }
    assert_eq!(group.available(), 2);
}

#[test]
fn a_group_grows_while_its_buffers_are_held_until_its_maximum() {
    let group = growing(16);
    let mut leases: Vec<_> = (0..3).map(|_| pick(&group)).collect();
    assert_eq!((group.bytes(), group.is_grown(), group.available()), (4 * 16, false, 1));
    for held in 4..=15 {
        leases.push(pick(&group));
        assert_eq!((group.available(), group.bytes()), (1, (held + 1) * 16), "one more than is held");
    }
    assert!(!group.can_grow());
    leases.push(pick(&group));
    assert_eq!((group.available(), group.leased(), group.grown()), (0, 16, 12));
}

#[test]
fn each_receive_that_found_no_buffer_deepens_the_ring_by_one_where_little_is_in_them() {
    let group = growing(8192);
    group.state.ran_dry();
    assert_eq!((group.available(), group.grown()), (4, 0), "not for want of buffers");
    let held = pick(&group);
    for _ in 0..3 {
        group.state.arrive(&mut Completion::failed(libc::ENOBUFS), false);
        group.state.ran_dry();
    }
    drop(held);
    assert_eq!((group.available(), group.grown()), (7, 3));
    let leases: Vec<_> = (0..5).map(|_| pick(&group)).collect();
    drop(leases);
    assert_eq!(group.available(), 7, "as deep as it became");
}

/// The trap: one pass of the kernel runs the receives of many streams, and all that it takes is there again a moment later.
#[test]
fn buffers_that_come_home_within_the_turn_make_nothing_grow_however_many_found_none() {
    let group = growing(512 << 10);
    for _ in 0..100 {
        let leases: Vec<_> = (0..4).map(|_| pick_in_turn(&group, 512 << 10)).collect();
        for _ in 0..60 {
            group.state.ran_dry();
        }
        assert_eq!(group.available(), 0, "what the cache holds is in use");
        drop(leases);
        end_turn(&group);
    }
    assert_eq!((group.available(), group.grown(), group.state.has_surplus()), (4, 0, false));
}

/// The trap: who found none asks again, and it must find one, whoever holds the others.
#[test]
fn full_buffers_that_are_held_over_the_turn_are_made_up_for_and_wake_who_waits() {
    let group = growing(512 << 10);
    let held: Vec<_> = (0..4).map(|_| pick_in_turn(&group, 512 << 10)).collect();
    group.state.ran_dry();
    assert_eq!((group.available(), group.grown()), (0, 0), "the program had no turn yet");
    let mut context = Context::from_waker(Waker::noop());
    let (mut first, mut second) = (group.room(), group.room());
    assert!(Pin::new(&mut first).poll(&mut context).is_pending());
    assert!(Pin::new(&mut second).poll(&mut context).is_pending());
    assert_eq!(end_turn(&group), 1, "one buffer, one wake");
    assert_eq!((group.available(), group.grown()), (1, 1));
    assert!(Pin::new(&mut first).poll(&mut context).is_ready());
    drop(held);
    assert_eq!(end_turn(&group), 0, "nothing was used in this turn");
}

/// The trap: what was given back too early is missing, what is never given back is lost to the system.
#[test]
fn buffers_that_nobody_needed_for_a_period_give_their_memory_back() {
    let group = growing(8192);
    let state = &group.state;
    let leases: Vec<_> = (0..10).map(|_| pick(&group)).collect();
    assert!(!state.has_surplus(), "all are needed");
    drop(leases);
    assert_eq!((group.available(), group.bytes()), (4, 11 * 8192), "the others lie aside");
    assert!(state.has_surplus());
    let mut now = Duration::from_secs(100);
    assert_eq!(state.tend(now), Some(PERIOD));
    now += PERIOD / 2;
    assert_eq!((state.tend(now), group.shrunk()), (Some(PERIOD / 2), 0), "not yet");
    // Five of those that lie aside are needed once more in this period.
    drop((0..8).map(|_| pick(&group)).collect::<Vec<_>>());
    now += PERIOD / 2;
    assert_eq!(state.tend(now), Some(PERIOD));
    assert_eq!((group.shrunk(), group.bytes()), (2, 9 * 8192), "two of seven were not");
    now += PERIOD;
    assert_eq!(state.tend(now), None, "nothing is left to look after");
    assert_eq!((group.shrunk(), group.bytes(), group.is_grown()), (7, 4 * 8192, false));
    // They can be had again.
    let leases: Vec<_> = (0..16).map(|_| pick(&group)).collect();
    assert_eq!((group.leased(), group.grown()), (16, 7 + 12));
    drop(leases);
}

#[test]
fn a_ring_that_was_found_empty_stays_deep_for_a_period_without_it() {
    let group = growing(8192);
    let mut now = Duration::ZERO;
    let held = pick(&group);
    group.state.ran_dry();
    assert_eq!(group.state.tend(now), Some(PERIOD));
    group.state.ran_dry();
    drop(held);
    now += PERIOD;
    assert_eq!(group.state.tend(now), Some(PERIOD), "it was found empty again");
    now += PERIOD;
    assert_eq!(group.state.tend(now), None);
    // What is in the ring is the kernel's: it is laid aside when it comes home.
    assert_eq!((group.available(), group.bytes()), (6, 6 * 8192));
    for _ in 0..6 {
        drop(pick(&group));
    }
    assert_eq!((group.available(), group.state.has_surplus()), (4, true));
}

#[test]
fn what_was_used_last_is_used_next() {
    let group = growing(16);
    let leases: Vec<_> = (0..8).map(|_| pick(&group)).collect();
    let last = group.state.reserve.used.get();
    drop(leases);
    let aside = group.state.reserve.aside.borrow().last().copied().expect("some lie aside");
    let held: Vec<_> = (0..4).map(|_| pick(&group)).collect();
    assert_eq!(group.state.reserve.used.get(), last, "nothing new is touched");
    assert_eq!(group.state.mirror[group.state.index(group.state.head.get())].get(), aside);
    drop(held);
}

#[test]
fn a_lease_is_off_the_account_when_its_last_part_is_dropped() {
    let group = growing(16);
    let (account, mut lease) = (Account::default(), pick(&group));
    lease.charge_to(&account);
    assert_eq!(account.held(), 16, "the whole buffer, for one byte");
    let part = lease.split_off(0);
    drop(lease);
    assert_eq!(account.held(), 16);
    drop(part);
    assert_eq!(account.held(), 0);
    // Its place serves the next lease, which nobody answers for.
    drop(pick(&group));
    assert_eq!(account.held(), 0);
    let mut own = Lease::copy_of(b"no buffer");
    own.charge_to(&account);
    assert_eq!(account.held(), 0);
}
