//! The operations that are not over, found by their token.

use std::os::fd::RawFd;

use super::interest::Side;
use super::timers::Due;
use crate::lifecycle::prefetch::prefetch;
use crate::request::Request;
use crate::token::Token;

/// A line of the cache.
const LINE_BYTES: usize = 64;

/// One operation that is not over.
pub(super) struct Pending {
    pub(super) token: Token,
    pub(super) request: Request<'static>,
    /// Bytes that earlier attempts moved.
    pub(super) progress: u32,
    /// The first attempt was made: a connect is under way, a listener is in non-blocking mode.
    pub(super) started: bool,
    /// The descriptor was in blocking mode, and has to be again.
    pub(super) restore: bool,
    pub(super) place: Place,
}

/// Where it waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Place {
    /// Nowhere yet.
    Nowhere,
    /// For a descriptor.
    Descriptor(RawFd, Side),
    /// For the clock; `None` is for ever.
    Clock(Option<Due>),
    /// For a thread of the pool.
    Pool,
}

impl Pending {
    pub(super) fn new(token: Token, request: Request<'static>) -> Self {
        Self { token, request, progress: 0, started: false, restore: false, place: Place::Nowhere }
    }
}

/// By slot: slots are few and dense, so nothing is hashed.
#[derive(Default)]
pub(super) struct Waiting {
    slots: Vec<Option<Pending>>,
}

impl Waiting {
    pub(super) fn insert(&mut self, pending: Pending) {
        let slot = pending.token.slot() as usize;
        if self.slots.len() <= slot {
            self.slots.resize_with(slot + 1, || None);
        }
        debug_assert!(self.slots[slot].is_none(), "[token-unique] one operation per slot");
        self.slots[slot] = Some(pending);
    }

    /// The operation of this token, unless it is over.
    pub(super) fn get(&mut self, token: Token) -> Option<&mut Pending> {
        let pending = self.slots.get_mut(token.slot() as usize)?.as_mut()?;
        (pending.token == token).then_some(pending)
    }

    /// Asks for the memory of this operation.
    #[inline]
    pub(super) fn foresee(&self, token: Token) {
        let start = self.slots.as_ptr().wrapping_add(token.slot() as usize).cast::<u8>();
        for line in (0..size_of::<Option<Pending>>()).step_by(LINE_BYTES) {
            prefetch(start.wrapping_add(line).cast());
        }
    }

    pub(super) fn remove(&mut self, token: Token) -> Option<Pending> {
        self.get(token)?;
        self.slots[token.slot() as usize].take()
    }
}
