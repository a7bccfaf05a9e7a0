//! The two buffer traits.
//!
//! Both are safe to implement: see [`mod.rs`](super) for why. The implementations are in
//! `bytes_of.rs` (buffers that only show bytes), `growable.rs` (room behind the bytes)
//! and `slice.rs` (a range of another buffer).
#![allow(unsafe_code, reason = "declares `IoBufMut::advance`, whose caller vouches for initialised bytes")]

use std::io;

use super::Room;

/// The result of an operation, and the buffer it used: it comes back with an error too.
pub type BufResult<T, B> = (io::Result<T>, B);

/// Bytes to send.
///
/// Only buffers that borrow from nothing short-lived qualify:
///
/// ```compile_fail
/// fn send(buf: impl coronet_io::buf::IoBuf) {}
/// let local = [1, 2, 3];
/// send(&local[..]); // `local` does not live long enough
/// ```
pub trait IoBuf: 'static {
    /// The bytes that the buffer holds.
    fn as_bytes(&self) -> &[u8];

    /// How many bytes the buffer could hold without being made larger.
    ///
    /// It bounds the ranges that [`IoBufExt::slice`](super::IoBufExt::slice) accepts and
    /// nothing else; an appending buffer answers with its capacity.
    fn extent(&self) -> usize {
        self.as_bytes().len()
    }

    /// A second handle to the same bytes, which nobody can change while both live, if that costs next to nothing.
    ///
    /// A write may lend it to the network, and give the first one back before the network is done with the bytes.
    /// Without one, which is the default, it copies them.
    fn share(&self) -> Option<Self>
    where
        Self: Sized,
    {
        None
    }
}

/// Room to fill.
///
/// A buffer is either *appending*, its room lies directly behind
/// [`as_bytes`](IoBuf::as_bytes), or *fixed*, its room is exactly the memory of
/// `as_bytes`, all of it initialised. The [module documentation](super) has the table.
pub trait IoBufMut: IoBuf {
    /// The room that a read may fill.
    fn spare(&mut self) -> Room<'_>;

    /// Tells the buffer that the first `count` bytes of its room were filled.
    ///
    /// # Safety
    /// - `count` is at most the length of the room that the latest call of
    ///   [`spare`](Self::spare) returned, and the buffer was not changed since. [spare-latest]
    /// - The first `count` bytes of that room are initialised. [spare-filled]
    unsafe fn advance(&mut self, count: usize);

    /// Copies as many of `bytes` into the room as fit, and returns how many: the safe
    /// way to fill a buffer from memory.
    ///
    /// # Examples
    /// ```
    /// use coronet_io::buf::IoBufMut;
    ///
    /// let mut buf = Vec::with_capacity(8);
    /// assert_eq!(buf.put(b"abc"), 3);
    /// assert_eq!(buf.put(b"defghijkl"), buf.capacity() - 3);
    /// assert!(buf.starts_with(b"abcdefgh"));
    /// ```
    fn put(&mut self, bytes: &[u8]) -> usize {
        let count = self.spare().copy_from(bytes);
        // SAFETY: [spare-latest] the room is that of the line above, which cannot hold
        // fewer than `count` bytes; [spare-filled] `copy_from` wrote exactly its first
        // `count` bytes.
        unsafe { self.advance(count) };
        count
    }
}
