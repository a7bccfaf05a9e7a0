//! The buffers of a group that are neither in its ring nor with the program, and what speaks for more or fewer.
//!
//! It keeps; what is done when is `size.rs`'s to decide and `group.rs`'s to do.

use std::cell::{Cell, RefCell};
use std::time::Duration;

/// How many buffers there are, and what speaks for more or fewer.
pub(super) struct Reserve {
    pub(super) base: u16,
    /// Buffers that the ring is to hold at most.
    pub(super) depth: Cell<u16>,
    /// Buffers that may have memory.
    pub(super) used: Cell<u16>,
    pub(super) grown: Cell<u64>,
    pub(super) shrunk: Cell<u64>,
    /// Neither in the ring nor with the program; the one that was used last is behind the others.
    pub(super) aside: RefCell<Vec<u16>>,
    /// Without memory; the one to begin with is the last.
    pub(super) vacant: RefCell<Vec<u16>>,
    /// When the period began, while there is something to give back.
    pub(super) since: Cell<Option<Duration>>,
    /// The fewest that lay aside in this period.
    pub(super) aside_min: Cell<usize>,
    /// Bytes that usually are in one when it comes home.
    pub(super) usual: Cell<u32>,
    /// In this period a receive found none, and one more cost little.
    pub(super) was_dry: Cell<bool>,
    /// In this turn a receive took a buffer, or found none.
    pub(super) was_used: Cell<bool>,
    /// Receives that found none since one took some: about as many as one pass of the kernel had too few for.
    pub(super) misses: Cell<u16>,
}

impl Reserve {
    /// For a group that begins with `base` buffers of `buffer_bytes` and may have `max`. Until one came home they are
    /// taken to be full.
    pub(super) fn new(base: u16, max: u16, buffer_bytes: u32) -> Self {
        Self {
            base,
            depth: Cell::new(base),
            used: Cell::new(base),
            grown: Cell::new(0),
            shrunk: Cell::new(0),
            aside: RefCell::default(),
            vacant: RefCell::new((base..max).rev().collect()),
            since: Cell::new(None),
            aside_min: Cell::new(0),
            usual: Cell::new(buffer_bytes),
            was_dry: Cell::new(false),
            was_used: Cell::new(false),
            misses: Cell::new(0),
        }
    }

    /// The one that was laid aside last.
    pub(super) fn take_up(&self) -> u16 {
        let buffer = self.aside.borrow_mut().pop().expect("one lies aside");
        self.aside_min.set(self.aside_min.get().min(self.aside.borrow().len()));
        buffer
    }

    /// One with new memory.
    pub(super) fn grow(&self) -> u16 {
        let buffer = self.vacant.borrow_mut().pop().expect("it is below its maximum");
        self.used.set(self.used.get() + 1);
        self.grown.set(self.grown.get() + 1);
        buffer
    }

    /// Parts with what was not needed: those that were used least recently, and no more than make the group as
    /// large as at first.
    pub(super) fn shrink(&self, discard: impl Fn(u16)) {
        let mut aside = self.aside.borrow_mut();
        let surplus = usize::from(self.used.get() - self.base);
        let count = self.aside_min.get().min(aside.len()).min(surplus);
        let mut vacant = self.vacant.borrow_mut();
        for buffer in aside.drain(..count) {
            discard(buffer);
            vacant.push(buffer);
        }
        self.used.set(self.used.get() - count as u16);
        self.shrunk.set(self.shrunk.get() + count as u64);
    }
}
