//! The run queue: first in, first out, linked through the headers, so it never allocates.

#![allow(unsafe_code, reason = "follows raw links between task cells")]

use std::{cell::Cell, ptr::NonNull};

use super::header::Header;

/// Tasks to run, oldest first. Owner only.
pub(super) struct RunQueue {
    head: Cell<Option<NonNull<Header>>>,
    /// Meaningless while `head` is `None`.
    tail: Cell<Option<NonNull<Header>>>,
}

impl RunQueue {
    pub(super) fn new() -> RunQueue {
        RunQueue { head: Cell::new(None), tail: Cell::new(None) }
    }

    #[inline]
    pub(super) fn is_empty(&self) -> bool {
        self.head.get().is_none()
    }

    /// Appends a task.
    ///
    /// # Safety
    /// - `header` is in no run queue, and lives until it is popped. \[listed\]
    #[inline]
    pub(super) unsafe fn push(&self, header: NonNull<Header>) {
        // SAFETY: [cell-alive] [listed] by contract the cell is alive.
        unsafe { header.as_ref() }.next.set(None);
        match (self.head.get(), self.tail.get()) {
            // SAFETY: [listed] a cell in the queue is alive.
            (Some(_), Some(tail)) => unsafe { tail.as_ref() }.next.set(Some(header)),
            _ => self.head.set(Some(header)),
        }
        self.tail.set(Some(header));
    }

    /// Takes the oldest task.
    #[inline]
    pub(super) fn pop(&self) -> Option<NonNull<Header>> {
        let header = self.head.get()?;
        // SAFETY: [listed] a cell in the queue is alive.
        self.head.set(unsafe { header.as_ref() }.next.get());
        Some(header)
    }
}
