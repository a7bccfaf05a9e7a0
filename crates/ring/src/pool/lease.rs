//! Bytes that the kernel received into a pooled buffer, on loan to the program.

#![allow(unsafe_code, reason = "reads pooled memory that the kernel has filled")]

use std::cell::RefCell;
use std::rc::Rc;

use crate::completion::Completion;
use crate::pool::Group;
use crate::pool::account::{Account, Charge};
use crate::pool::group::GroupState;

/// A part of a pooled buffer: read it, split it, send it on; dropping it gives it back.
///
/// An empty lease (the end of a stream) holds no buffer. Where the kernel had no buffer to
/// pick, a lease holds memory of its own, and behaves the same.
///
/// One word, because it moves with every message: from the stream to the program, into a write, into
/// an operation and back. What it stands for does not move.
pub struct Lease(Option<Box<Piece>>);

const _: () = assert!(size_of::<Lease>() == size_of::<usize>());

/// What a lease stands for.
pub(crate) struct Piece {
    holder: Holder,
    buffer: u16,
    offset: u32,
    len: u32,
    /// Who answers for it, if somebody does.
    charge: Option<Rc<Charge>>,
}

/// Whose memory it is.
#[derive(Clone)]
enum Holder {
    /// A piece that is kept for the next lease of its group.
    Nobody,
    Group(Rc<GroupState>),
    Own(Rc<[u8]>),
}

impl Lease {
    /// No bytes, and no buffer.
    pub const fn empty() -> Self {
        Self(None)
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
        let holder = Holder::Own(Rc::from(bytes));
        Self(Some(Box::new(Piece { holder, buffer: 0, offset: 0, len, charge: None })))
    }

    /// Bytes of a buffer that counts this lease as a holder. [buffer-held]
    #[inline]
    fn of_group(state: Rc<GroupState>, buffer: u16, offset: u32, len: u32) -> Self {
        let Some(mut piece) = state.spare_pieces.take_one() else {
            let holder = Holder::Group(state);
            return Self(Some(Box::new(Piece { holder, buffer, offset, len, charge: None })));
        };
        piece.holder = Holder::Group(state);
        piece.buffer = buffer;
        piece.offset = offset;
        piece.len = len;
        Self(Some(piece))
    }

    /// Lets `account` answer for what this lease keeps of its group, until it and all that is split off it are
    /// dropped. Memory of its own, or nothing, is not charged.
    pub fn charge_to(&mut self, account: &Account) {
        let Some(piece) = &mut self.0 else { return };
        if let Holder::Group(state) = &piece.holder {
            piece.charge = Some(account.charge(state.kept_by(piece.len)));
        }
    }

    /// Splits off the bytes from `at` on; this lease keeps those before it. Copies nothing.
    ///
    /// # Panics
    /// If `at` is more than the length.
    #[must_use]
    pub fn split_off(&mut self, at: usize) -> Self {
        let behind = self.part(at, self.len());
        if let Some(piece) = &mut self.0 {
            piece.len = at as u32;
        }
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
        assert!(count <= self.len(), "{count} of {} bytes", self.len());
        if let Some(piece) = &mut self.0 {
            piece.offset += count as u32;
            piece.len -= count as u32;
        }
    }

    fn part(&self, from: usize, to: usize) -> Self {
        assert!(from <= to && to <= self.len(), "bytes {from} to {to} of {}", self.len());
        let Some(piece) = &self.0 else { return Self::empty() };
        let (offset, len) = (piece.offset + from as u32, (to - from) as u32);
        if let Holder::Group(state) = &piece.holder {
            state.share(piece.buffer);
            let mut part = Self::of_group(state.clone(), piece.buffer, offset, len);
            if let (Some(part), Some(charge)) = (&mut part.0, &piece.charge) {
                part.charge = Some(charge.clone());
            }
            return part;
        }
        let holder = piece.holder.clone();
        Self(Some(Box::new(Piece { holder, buffer: 0, offset, len, charge: None })))
    }
}

impl std::ops::Deref for Lease {
    type Target = [u8];

    #[inline]
    fn deref(&self) -> &[u8] {
        let Some(piece) = &self.0 else { return &[] };
        match &piece.holder {
            // SAFETY: [buffer-held] this lease counts as a holder, and covers reported bytes only.
            Holder::Group(state) => unsafe { state.memory.bytes(piece.buffer, piece.offset, piece.len) },
            Holder::Own(bytes) => &bytes[piece.offset as usize..][..piece.len as usize],
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
        let Some(mut piece) = self.0.take() else { return };
        if let Holder::Group(state) = std::mem::replace(&mut piece.holder, Holder::Nobody) {
            let buffer = piece.buffer;
            drop(piece.charge.take());
            state.spare_pieces.keep(piece);
            state.give_back(buffer);
        }
    }
}

impl std::fmt::Debug for Lease {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Lease({} bytes)", self.len())
    }
}

/// Pieces for the next leases of a group: so a lease costs no allocation.
#[derive(Default)]
#[expect(clippy::vec_box, reason = "a lease takes the box as it is")]
pub(crate) struct SparePieces(RefCell<Vec<Box<Piece>>>);

/// More leases than this at the same time are rare, and may cost an allocation each.
const SPARE_PIECES_MAX: usize = 4096;

impl SparePieces {
    #[inline]
    fn take_one(&self) -> Option<Box<Piece>> {
        self.0.borrow_mut().pop()
    }

    #[inline]
    fn keep(&self, piece: Box<Piece>) {
        let mut spare = self.0.borrow_mut();
        if spare.len() < SPARE_PIECES_MAX {
            spare.push(piece);
        }
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

    /// As one lease, if it lies in one buffer.
    #[inline]
    pub(crate) fn whole(group: &Group, done: Completion) -> Option<Lease> {
        let bytes = u32::try_from(done.result).unwrap_or(0);
        let Some(buffer) = done.buffer() else { return Some(Lease::empty()) };
        let fits = bytes <= group.state.memory.buffer_bytes() - done.offset;
        fits.then(|| Lease::of_group(group.state.clone(), buffer, done.offset, bytes))
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
        let lease = Lease::of_group(state, buffer, offset, len);
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
