//! The bookkeeping, with completions made by hand.

use super::*;
use crate::pool::Lease;

fn group(buffers: u16, buffer_bytes: u32, incremental: bool) -> Group {
    let config = GroupConfig { buffers, buffer_bytes, incremental };
    Group { state: Rc::new(GroupState::new(GroupId::new(0, 1), config).expect("memory")) }
}

fn arrive(group: &Group, buffer: u16, result: i32, more: bool, bundle: bool) -> Vec<Lease> {
    let flags = 1 | (u32::from(more) << 4) | (u32::from(buffer) << 16);
    let mut done = Completion::new(result, flags);
    group.state.arrive(&mut done, bundle);
    group.receive(Done::<()>::new(done, Some(group.id()))).collect()
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
