//! The waker of a task: plain arithmetic at home, the atomic word elsewhere.

#![allow(unsafe_code, reason = "implements the raw waker vtable")]

use std::{
    mem::ManuallyDrop,
    ptr::NonNull,
    sync::Arc,
    task::{RawWaker, RawWakerVTable, Waker},
};

use super::{
    header::{self, Header},
    remote::Then,
    scheduler::Scheduler,
};
use crate::context;

static VTABLE: RawWakerVTable = RawWakerVTable::new(clone, wake, wake_by_ref, drop_waker);

/// A waker that borrows the reference of a running task, instead of counting one.
#[inline]
pub(super) fn borrow(header: NonNull<Header>) -> ManuallyDrop<Waker> {
    let raw = RawWaker::new(header.as_ptr().cast_const().cast(), &VTABLE);
    // SAFETY: the functions below uphold the contract of `RawWakerVTable`, on any thread: at
    // home by [task-owned], elsewhere through the atomic word. [cell-alive] The running task
    // holds a reference for as long as this waker is used; it is never dropped.
    ManuallyDrop::new(unsafe { Waker::from_raw(raw) })
}

/// The header behind a waker's data pointer.
///
/// # Safety
/// - `data` is the data of a waker of this file that has not been dropped.
#[inline]
unsafe fn header<'a>(data: *const ()) -> (NonNull<Header>, &'a Header) {
    let pointer = data.cast_mut().cast::<Header>();
    // SAFETY: wakers are made from non-null headers.
    let header = unsafe { NonNull::new_unchecked(pointer) };
    // SAFETY: [cell-alive] the waker holds or borrows a reference.
    (header, unsafe { header.as_ref() })
}

#[inline]
fn is_home(cell: &Header) -> bool {
    context::is_home(cell.home.as_ptr().cast_const().cast())
}

unsafe fn clone(data: *const ()) -> RawWaker {
    // SAFETY: by the contract of the vtable.
    let (_, cell) = unsafe { header(data) };
    if is_home(cell) {
        cell.add_ref();
    } else {
        cell.remote.add_ref();
    }
    RawWaker::new(data, &VTABLE)
}

unsafe fn wake_by_ref(data: *const ()) {
    // SAFETY: by the contract of the vtable.
    let (header, cell) = unsafe { header(data) };
    if is_home(cell) {
        // SAFETY: [home-alive] it is the thread's current core.
        unsafe { cell.home.as_ref() }.wake_here(header, cell);
    } else if cell.remote.wake() == Then::Push {
        // SAFETY: [home-alive] the caller's waker keeps the cell alive during this call, and the
        // cell its home: as an orphan by its own reference.
        unsafe { cell.home.as_ref() }.push_remote(header);
    }
}

unsafe fn wake(data: *const ()) {
    // SAFETY: by the contract of the vtable.
    let (header, cell) = unsafe { header(data) };
    if is_home(cell) {
        // SAFETY: [home-alive] it is the thread's current core.
        unsafe { cell.home.as_ref() }.wake_here(header, cell);
        release_here(header, cell);
    } else {
        release_elsewhere(header, cell, true);
    }
}

unsafe fn drop_waker(data: *const ()) {
    // SAFETY: by the contract of the vtable.
    let (header, cell) = unsafe { header(data) };
    if is_home(cell) {
        release_here(header, cell);
    } else {
        release_elsewhere(header, cell, false);
    }
}

#[inline]
fn release_here(header: NonNull<Header>, cell: &Header) {
    if cell.sub_ref() {
        // SAFETY: [cell-alive] that was the last reference; the core is current, so not closed.
        unsafe { header::free_at_home(header) };
    }
}

fn release_elsewhere(header: NonNull<Header>, cell: &Header, is_wake: bool) {
    let home = cell.home.as_ptr().cast_const();
    // The cell may vanish as soon as it is pushed, and the core with it, while this thread is
    // about to ring its bell. So hold the core for the length of this call.
    // SAFETY: [home-alive] our reference keeps the cell alive, and the cell its home.
    unsafe { Arc::increment_strong_count(home) };
    // SAFETY: the count was raised just now for this.
    let home: Arc<Scheduler> = unsafe { Arc::from_raw(home) };
    match cell.remote.sub_ref(is_wake) {
        Then::Nothing => {}
        Then::Push => home.push_remote(header),
        // SAFETY: [cell-alive] the word said that it is an orphan without references.
        Then::Free => unsafe { header::free_orphan(header) },
    }
}
