//! Bytes that the kernel received into a pooled buffer, on loan to the program.

#![allow(unsafe_code, reason = "reads pooled memory that the kernel has filled")]

use std::rc::Rc;

use crate::completion::Completion;
use crate::pool::Group;
use crate::pool::group::GroupState;

/// A part of a pooled buffer: read it, split it, send it on; dropping it gives it back.
///
/// An empty lease (the end of a stream) holds no buffer. Where the kernel had no buffer to
/// pick, a lease holds memory of its own, and behaves the same.
pub struct Lease {
    holder: Holder,
    buffer: u16,
    offset: u32,
    len: u32,
}

const _: () = assert!(size_of::<Lease>() <= 32);

/// Whose memory it is.
#[derive(Clone)]
enum Holder {
    Nobody,
    Group(Rc<GroupState>),
    /// Boxed once more, so that a lease is four words: it moves with every message.
    Own(Rc<Box<[u8]>>),
}

impl Lease {
    /// No bytes, and no buffer.
    pub const fn empty() -> Self {
        Self { holder: Holder::Nobody, buffer: 0, offset: 0, len: 0 }
    }

    /// Bytes that lie in no pool. Copies them.
    ///
    /// # Panics
    /// If there are 4 GiB or more.
    pub fn copy_of(bytes: &[u8]) -> Self {
        if bytes.is_empty() {
            return Self::empty();
        }
        let len = u32::try_from(bytes.len()).expect("fewer than 4 GiB in one lease");
        Self { holder: Holder::Own(Rc::new(Box::from(bytes))), buffer: 0, offset: 0, len }
    }

    /// Splits off the bytes from `at` on; this lease keeps those before it. Copies nothing.
    ///
    /// # Panics
    /// If `at` is more than the length.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let behind = self.part(at, self.len as usize);
        self.len = at as u32;
        behind
    }

    /// Splits off the bytes before `at`; this lease keeps the rest. Copies nothing.
    ///
    /// # Panics
    /// If `at` is more than the length.
    #[must_use]
    pub fn split_to(&mut self, at: usize) -> Self {
        let before = self.part(0, at);
        self.advance(at);
        before
    }

    /// Forgets the first `count` bytes.
    ///
    /// # Panics
    /// If `count` is more than the length.
    pub fn advance(&mut self, count: usize) {
        assert!(count <= self.len as usize, "{count} of {} bytes", self.len);
        self.offset += count as u32;
        self.len -= count as u32;
    }

    fn part(&self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.len as usize, "bytes {from} to {to} of {}", self.len);
        if let Holder::Group(state) = &self.holder {
            state.share(self.buffer);
        }
        Self {
            holder: self.holder.clone(),
            buffer: self.buffer,
            offset: self.offset + from as u32,
            len: (to - from) as u32,
        }
    }
}

impl std::ops::Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        match &self.holder {
            // SAFETY: [buffer-held] this lease counts as a holder, and covers reported bytes only.
            Holder::Group(state) => unsafe { state.memory.bytes(self.buffer, self.offset, self.len) },
            Holder::Own(bytes) => &bytes[self.offset as usize..][..self.len as usize],
            Holder::Nobody => &[],
        }
    }
}

impl AsRef<[u8]> for Lease {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

impl Drop for Lease {
    #[inline]
    fn drop(&mut self) {
        if let Holder::Group(state) = &self.holder {
            state.give_back(self.buffer);
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} bytes)", self.len)
    }
}

/// What one completion brought: one lease, or several if it was a bundle.
///
/// Leases that nobody takes are given back.
#[derive(Debug)]
pub struct Received {
    group: Option<Group>,
    buffer: u16,
    offset: u32,
    bytes: u32,
}

impl Received {
    #[inline]
    pub(crate) fn new(group: &Group, done: Completion) -> Self {
        let bytes = u32::try_from(done.result).unwrap_or(0);
        match done.buffer() {
            Some(buffer) => Self { group: Some(group.clone()), buffer, offset: done.offset, bytes },
            None => Self::nothing(),
        }
    }

    /// Nothing: the end of a stream, or an error.
    pub const fn nothing() -> Self {
        Self { group: None, buffer: 0, offset: 0, bytes: 0 }
    }

    /// Bytes that are not taken yet.
    pub fn len(&self) -> usize {
        self.bytes as usize
    }

    /// True if no bytes are left.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl Iterator for Received {
    type Item = Lease;

    /// The next bytes, in the order of the stream; never an empty lease.
    #[inline]
    fn next(&mut self) -> Option<Lease> {
        let Some(group) = &self.group else { return None };
        let room = group.state.memory.buffer_bytes() - self.offset;
        let len = self.bytes.min(room);
        let (state, buffer, offset) = (group.state.clone(), self.buffer, self.offset);
        self.bytes -= len;
        if self.bytes > 0 {
            self.buffer = state.next_in_bundle(buffer);
            self.offset = 0;
        } else {
            self.group = None;
        }
        let lease = Lease { holder: Holder::Group(state), buffer, offset, len };
        // A buffer may come without bytes (an error, the end): dropping the lease recycles it.
        if len == 0 { None } else { Some(lease) }
    }
}

impl Drop for Received {
    fn drop(&mut self) {
        for lease in self.by_ref() {
            drop(lease);
        }
    }
}
