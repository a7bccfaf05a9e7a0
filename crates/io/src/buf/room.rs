//! Room that a read may fill, and that can only ever gain bytes.
//!
//! The room of a `Vec` is uninitialised; that of an array is not. One type serves both
//! because [`Room`] never lets safe code write an *uninitialised* byte: a plain
//! `&mut [MaybeUninit<u8>]` over an array would, and reading the array afterwards
//! would be undefined behaviour.
//!
//! It does not tell the buffer how much was filled; [`IoBufMut::advance`] does.
//!
//! [`IoBufMut::advance`]: super::IoBufMut::advance
#![allow(
    unsafe_code,
    reason = "views initialised bytes as possibly uninitialised ones, and promises never to undo that"
)]

use std::fmt;
use std::mem::MaybeUninit;
use std::ops::RangeBounds;

/// A borrowed stretch of memory that may be filled with bytes.
///
/// Invariant [room-keeps-init]: no byte of the room that is initialised is ever made
/// uninitialised through it.
pub struct Room<'a> {
    memory: &'a mut [MaybeUninit<u8>],
}

impl<'a> Room<'a> {
    /// The number of bytes that fit.
    pub fn len(&self) -> usize {
        self.memory.len()
    }

    /// True if no byte fits.
    pub fn is_empty(&self) -> bool {
        self.memory.is_empty()
    }

    /// Where the room begins.
    pub fn as_ptr(&self) -> *const u8 {
        self.memory.as_ptr().cast()
    }

    /// Where the room begins, for who fills it.
    ///
    /// Whoever writes through the pointer writes at most [`len`](Self::len) bytes, and
    /// initialised ones only. [room-keeps-init]
    pub fn as_mut_ptr(&mut self) -> *mut u8 {
        self.memory.as_mut_ptr().cast()
    }

    /// Copies as many of `bytes` as fit to the beginning of the room, and returns how many.
    pub fn copy_from(&mut self, bytes: &[u8]) -> usize {
        let count = bytes.len().min(self.memory.len());
        self.memory[..count].write_copy_of_slice(&bytes[..count]);
        count
    }

    /// The part of the room that `range` names.
    ///
    /// # Panics
    /// If the range does not lie within the room.
    #[must_use]
    pub fn range(self, range: impl RangeBounds<usize>) -> Self {
        let bounds = (range.start_bound().cloned(), range.end_bound().cloned());
        let memory = &mut self.memory[bounds];
        Self { memory }
    }

    /// The same memory, to lend to the kernel.
    pub(crate) fn lend(self) -> coronet_ring::SpanMut<'a> {
        // [room-keeps-init] Whoever fills a span writes initialised bytes only.
        coronet_ring::SpanMut::new(self.memory)
    }

    /// The same memory, as the standard library describes it.
    ///
    /// # Safety
    /// - Only initialised bytes are written to the slice. [room-keeps-init]
    pub unsafe fn into_uninit(self) -> &'a mut [MaybeUninit<u8>] {
        self.memory
    }
}

impl<'a> From<&'a mut [MaybeUninit<u8>]> for Room<'a> {
    fn from(memory: &'a mut [MaybeUninit<u8>]) -> Self {
        Self { memory }
    }
}

impl<'a> From<&'a mut [u8]> for Room<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        let memory: *mut [u8] = bytes;
        let memory = memory as *mut [MaybeUninit<u8>];
        // SAFETY: `MaybeUninit<u8>` has the layout of `u8`, and the pointer comes from a
        // unique borrow of the same length and lifetime. [room-keeps-init] nobody can make
        // a byte uninitialised through the private field, so `bytes` stays valid `u8`s.
        let memory = unsafe { &mut *memory };
        Self { memory }
    }
}

impl fmt::Debug for Room<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Room").field("len", &self.len()).finish_non_exhaustive()
    }
}
