//! The list of all cells of a scheduler: circular, doubly linked, through the headers.
//!
//! A cell is in it from birth until it is freed, so that a dying executor finds every task
//! to cancel and every cell to orphan. Unlinking needs no list, only neighbours.

#![allow(unsafe_code, reason = "follows raw links between task cells")]

use std::{
    cell::Cell,
    ptr::{self, NonNull},
};

use super::header::Header;

/// Neighbours in a list; both null outside of one. Owner only.
#[repr(C)]
pub(super) struct Links {
    prev: Cell<*const Links>,
    next: Cell<*const Links>,
}

impl Links {
    pub(super) fn new() -> Links {
        Links { prev: Cell::new(ptr::null()), next: Cell::new(ptr::null()) }
    }
}

/// One list. It must not move while it holds anything: its neighbours point to it.
pub(super) struct OwnedList {
    /// Links of the list itself; null until the first insertion.
    ends: Links,
}

impl OwnedList {
    pub(super) fn new() -> OwnedList {
        OwnedList { ends: Links::new() }
    }

    /// Inserts a cell at the end.
    ///
    /// # Safety
    /// - `header` is in no list, and stays alive until it is removed. \[listed\]
    /// - `self` does not move until it is empty again.
    pub(super) unsafe fn insert(&self, header: NonNull<Header>) {
        let ends: *const Links = &raw const self.ends;
        if self.ends.next.get().is_null() {
            self.ends.next.set(ends);
            self.ends.prev.set(ends);
        }
        // `links` is the first field of the header, so this pointer keeps the whole cell's
        // provenance and can be cast back by `pop`.
        let links: *const Links = header.as_ptr().cast_const().cast();
        let last = self.ends.prev.get();
        // SAFETY: [cell-alive] [listed] by contract the cell is alive.
        let own = unsafe { &*links };
        debug_assert!(own.next.get().is_null());
        own.prev.set(last);
        own.next.set(ends);
        // SAFETY: [listed] `last` is the list itself or a cell in it, which is alive.
        unsafe { &*last }.next.set(links);
        self.ends.prev.set(links);
    }

    /// Removes the first cell.
    pub(super) fn pop(&self) -> Option<NonNull<Header>> {
        let first = self.ends.next.get();
        if first.is_null() || ptr::eq(first, &raw const self.ends) {
            return None;
        }
        let header = NonNull::new(first.cast_mut().cast::<Header>())?;
        // SAFETY: [listed] cells in the list are alive.
        remove(unsafe { header.as_ref() });
        Some(header)
    }
}

/// Takes a cell out of its list, if it is in one.
pub(super) fn remove(header: &Header) {
    let own = &header.links;
    let (prev, next) = (own.prev.get(), own.next.get());
    if next.is_null() {
        return;
    }
    // SAFETY: [listed] neighbours are the list itself or cells in it, which are alive.
    unsafe { &*prev }.next.set(next);
    // SAFETY: as above.
    unsafe { &*next }.prev.set(prev);
    own.prev.set(ptr::null());
    own.next.set(ptr::null());
}
