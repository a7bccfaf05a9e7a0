//! Who waits, first come first served: a linked list in a slab.
//!
//! A waiter has a key while it is listed or has been *granted* what it waits for; the future
//! that holds the key gives it back. The slab is reused, so waiting does not allocate in
//! the long run.

use std::task::Waker;

use slab::Slab;

const NIL: usize = usize::MAX;

/// Waiters and what each wants.
pub(super) struct Waiters<W> {
    entries: Slab<Entry<W>>,
    first: usize,
    last: usize,
}

struct Entry<W> {
    want: W,
    /// `None` once it is granted.
    waker: Option<Waker>,
    prev: usize,
    next: usize,
}

impl<W> Waiters<W> {
    pub(super) fn new() -> Waiters<W> {
        Waiters { entries: Slab::new(), first: NIL, last: NIL }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.first == NIL
    }

    /// Appends a waiter.
    pub(super) fn push(&mut self, want: W, waker: Waker) -> usize {
        let prev = self.last;
        let key = self.entries.insert(Entry { want, waker: Some(waker), prev, next: NIL });
        match self.entries.get_mut(prev) {
            Some(entry) => entry.next = key,
            None => self.first = key,
        }
        self.last = key;
        key
    }

    /// What the first listed waiter wants.
    pub(super) fn first(&self) -> Option<&W> {
        self.entries.get(self.first).map(|entry| &entry.want)
    }

    /// Grants the first listed waiter; it stays until its future removes it.
    #[must_use]
    pub(super) fn grant_first(&mut self) -> Option<Waker> {
        let key = self.first;
        if key == NIL {
            return None;
        }
        self.unlink(key);
        self.entries[key].waker.take()
    }

    pub(super) fn is_granted(&self, key: usize) -> bool {
        self.entries[key].waker.is_none()
    }

    /// Changes what a waiter has or wants.
    pub(super) fn want_mut(&mut self, key: usize) -> &mut W {
        &mut self.entries[key].want
    }

    /// The key of the first listed waiter.
    pub(super) fn first_key(&self) -> Option<usize> {
        (self.first != NIL).then_some(self.first)
    }

    pub(super) fn will_wake(&self, key: usize, waker: &Waker) -> bool {
        self.entries[key].waker.as_ref().is_some_and(|own| own.will_wake(waker))
    }

    /// Replaces the waker of a waiter that is not granted.
    #[must_use]
    pub(super) fn replace_waker(&mut self, key: usize, waker: Waker) -> Option<Waker> {
        self.entries[key].waker.replace(waker)
    }

    /// Removes a waiter; with its waker if it had not been granted.
    pub(super) fn remove(&mut self, key: usize) -> (W, Option<Waker>) {
        if self.entries[key].waker.is_some() {
            self.unlink(key);
        }
        let entry = self.entries.remove(key);
        (entry.want, entry.waker)
    }

    fn unlink(&mut self, key: usize) {
        let (prev, next) = (self.entries[key].prev, self.entries[key].next);
        match self.entries.get_mut(prev) {
            Some(entry) => entry.next = next,
            None => self.first = next,
        }
        match self.entries.get_mut(next) {
            Some(entry) => entry.prev = prev,
            None => self.last = prev,
        }
    }
}
