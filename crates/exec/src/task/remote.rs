//! What other threads do to a task: one atomic word and a stack.
//!
//! The word holds a reference count and three flags. A thread that wakes a task, or drops a
//! waker, elsewhere than on the task's core sets `QUEUED`; if it was clear, that thread pushes
//! the cell onto the core's stack and rings the bell. The core drains the stack, clears the
//! flags, wakes the task if it was notified, and frees the cell if that was the last reference.
//! When the executor dies it closes the stack and turns each surviving cell into an *orphan*,
//! which is counted by the word alone.

#![allow(unsafe_code, reason = "follows raw links between task cells")]

use std::ptr::{self, NonNull};

use super::header::Header;
use crate::primitives::{AtomicI64, AtomicPtr, Ordering};

/// In the stack, or about to be pushed. Keeps the cell alive.
const QUEUED: i64 = 1;
/// Woken elsewhere since the core last looked.
const NOTIFIED: i64 = 2;
/// The executor is gone: the word is the only count, nobody looks at the stack.
const ORPHAN: i64 = 4;
const ONE: i64 = 8;
const FLAGS: i64 = ONE - 1;

/// References and flags that any thread may change.
pub(super) struct RemoteWord(AtomicI64);

/// What a thread must do after it changed the word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) enum Then {
    Nothing,
    /// Push the cell onto the stack of its core.
    Push,
    /// Free the orphan: this was its last reference.
    Free,
}

/// What the core must do with a cell that it took from the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(super) struct Collected {
    pub(super) is_notified: bool,
    pub(super) is_last: bool,
}

fn count(word: i64) -> i64 {
    word >> ONE.trailing_zeros()
}

/// Woken elsewhere; `None` if that has no effect.
fn woken(word: i64) -> Option<(i64, Then)> {
    if word & ORPHAN != 0 {
        return None;
    }
    // Written even if nothing changes: the write publishes what the waker did before.
    let then = if word & QUEUED == 0 { Then::Push } else { Then::Nothing };
    #[cfg(feature = "mutants")]
    if crate::mutants::is("waker-lost") {
        return Some((word | QUEUED, then));
    }
    Some((word | QUEUED | NOTIFIED, then))
}

/// A waker dropped elsewhere.
fn dropped(word: i64) -> (i64, Then) {
    let next = word - ONE;
    if word & ORPHAN != 0 {
        let is_last = count(next) == 0 && word & QUEUED == 0;
        return (next, if is_last { Then::Free } else { Then::Nothing });
    }
    // The core must look: this may have been the last reference, and only it can tell.
    let then = if word & QUEUED == 0 { Then::Push } else { Then::Nothing };
    (next | QUEUED, then)
}

impl RemoteWord {
    pub(super) fn new() -> RemoteWord {
        RemoteWord(AtomicI64::new(0))
    }

    /// Whether no reference is left, if the owner's count is `refs`; for the owner.
    #[inline]
    pub(super) fn is_last(&self, refs: i32, order: Ordering) -> bool {
        let word = self.0.load(order);
        i64::from(refs) + count(word) == 0 && word & QUEUED == 0
    }

    pub(super) fn is_orphan(&self) -> bool {
        self.0.load(Ordering::Acquire) & ORPHAN != 0
    }

    /// Adds a reference.
    pub(super) fn add_ref(&self) {
        // The caller holds a reference, so nothing needs to be ordered.
        self.0.fetch_add(ONE, Ordering::Relaxed);
    }

    /// Notes a wake; the caller keeps its reference.
    pub(super) fn wake(&self) -> Then {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let Some((next, then)) = woken(word) else { return Then::Nothing };
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return then,
                Err(now) => word = now,
            }
        }
    }

    /// Gives back a reference, with a wake if `is_wake`.
    pub(super) fn sub_ref(&self, is_wake: bool) -> Then {
        let mut word = self.0.load(Ordering::Relaxed);
        loop {
            let (mut next, then) = dropped(word);
            if is_wake && word & ORPHAN == 0 {
                next |= NOTIFIED;
            }
            #[cfg(feature = "mutants")]
            if crate::mutants::is("waker-lost") {
                next &= !NOTIFIED;
            }
            match self.0.compare_exchange_weak(word, next, Ordering::AcqRel, Ordering::Relaxed) {
                Ok(_) => return then,
                Err(now) => word = now,
            }
        }
    }

    /// Clears the flags of a cell that the core took from the stack; `refs` is its own count.
    pub(super) fn collect(&self, refs: i32) -> Collected {
        let word = self.0.fetch_and(!(QUEUED | NOTIFIED), Ordering::AcqRel);
        Collected { is_notified: word & NOTIFIED != 0, is_last: i64::from(refs) + count(word) == 0 }
    }

    /// Undoes `QUEUED` because the stack is closed. After `Nothing` the cell may be gone.
    pub(super) fn unqueue(&self) -> Then {
        let word = self.0.fetch_and(!(QUEUED | NOTIFIED), Ordering::AcqRel);
        let is_last = word & ORPHAN != 0 && count(word) == 0;
        if is_last { Then::Free } else { Then::Nothing }
    }

    /// Makes the cell an orphan and adds the owner's count, once. After `Nothing` the cell
    /// may be gone.
    pub(super) fn orphan(&self, refs: i32) -> Then {
        let refs = i64::from(refs);
        let before = self.0.fetch_add(refs * ONE + ORPHAN, Ordering::AcqRel);
        debug_assert_eq!(before & ORPHAN, 0);
        let is_last = count(before) + refs == 0 && before & QUEUED == 0;
        if is_last { Then::Free } else { Then::Nothing }
    }
}

const _: () = assert!(FLAGS == QUEUED | NOTIFIED | ORPHAN);

/// Cells that other threads want their core to look at. Many push, one takes all.
pub(super) struct RemoteStack {
    head: AtomicPtr<Header>,
}

/// The head of a closed stack: never dereferenced, and no cell has this address.
fn closed() -> *mut Header {
    ptr::without_provenance_mut(1)
}

impl RemoteStack {
    pub(super) fn new() -> RemoteStack {
        RemoteStack { head: AtomicPtr::new(ptr::null_mut()) }
    }

    /// Pushes a cell; false if the stack is closed.
    ///
    /// # Safety
    /// - The caller set `QUEUED` on `header` and has not pushed it since. \[cell-alive\]
    pub(super) unsafe fn push(&self, header: NonNull<Header>) -> bool {
        let mut head = self.head.load(Ordering::Relaxed);
        loop {
            if head == closed() {
                return false;
            }
            // SAFETY: [cell-alive] by contract the caller owns the `QUEUED` bit, which keeps the
            // cell alive until the exchange below succeeds.
            unsafe { header.as_ref() }.remote_next.store(head, Ordering::Relaxed);
            match self.head.compare_exchange_weak(head, header.as_ptr(), Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => return true,
                Err(now) => head = now,
            }
        }
    }

    /// Whether there is nothing to take. Cheap: one load.
    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.load(Ordering::Relaxed).is_null()
    }

    /// Takes all cells, in the order of their pushes.
    pub(super) fn take(&self) -> Taken {
        Taken::new(self.head.swap(ptr::null_mut(), Ordering::Acquire))
    }

    /// Takes all cells and refuses any further one.
    pub(super) fn close(&self) -> Taken {
        Taken::new(self.head.swap(closed(), Ordering::Acquire))
    }
}

/// Cells taken from the stack; their `QUEUED` bits are the caller's now.
pub(super) struct Taken {
    head: *mut Header,
}

impl Taken {
    fn new(head: *mut Header) -> Taken {
        let mut taken = if head == closed() { ptr::null_mut() } else { head };
        // A stack is last-in first-out; fairness wants the order of arrival.
        let mut ordered = ptr::null_mut();
        while let Some(header) = NonNull::new(taken) {
            // SAFETY: [cell-alive] the cell came from the stack with its `QUEUED` bit set.
            let link = &unsafe { header.as_ref() }.remote_next;
            taken = link.load(Ordering::Relaxed);
            link.store(ordered, Ordering::Relaxed);
            ordered = header.as_ptr();
        }
        Taken { head: ordered }
    }
}

impl Iterator for Taken {
    type Item = NonNull<Header>;

    fn next(&mut self) -> Option<NonNull<Header>> {
        let header = NonNull::new(self.head)?;
        // SAFETY: [cell-alive] the bit of each cell still in the list is set: the caller clears it
        // only after it got the cell from here, and then we are past its link.
        self.head = unsafe { header.as_ref() }.remote_next.load(Ordering::Relaxed);
        Some(header)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn only_the_thread_that_sets_queued_pushes() {
        let word = RemoteWord::new();
        word.add_ref();
        assert_eq!(word.wake(), Then::Push);
        assert_eq!(word.wake(), Then::Nothing);
        assert_eq!(word.sub_ref(false), Then::Nothing);
        assert_eq!(word.collect(1), Collected { is_notified: true, is_last: false });
        assert_eq!(word.wake(), Then::Push);
    }

    #[test]
    fn a_queued_cell_is_never_freed_by_its_last_reference() {
        let word = RemoteWord::new();
        assert_eq!(word.sub_ref(true), Then::Push);
        assert!(!word.is_last(1, Ordering::Acquire));
        assert_eq!(word.collect(1), Collected { is_notified: true, is_last: true });
    }

    #[test]
    fn an_orphan_is_freed_once_by_the_last_of_count_and_queue() {
        let word = RemoteWord::new();
        word.add_ref();
        assert_eq!(word.wake(), Then::Push);
        assert_eq!(word.orphan(0), Then::Nothing);
        assert_eq!(word.sub_ref(false), Then::Nothing);
        assert_eq!(word.unqueue(), Then::Free);
    }

    #[test]
    fn waking_an_orphan_does_nothing() {
        let word = RemoteWord::new();
        assert_eq!(word.orphan(1), Then::Nothing);
        assert_eq!(word.wake(), Then::Nothing);
        assert_eq!(word.sub_ref(true), Then::Free);
    }
}
