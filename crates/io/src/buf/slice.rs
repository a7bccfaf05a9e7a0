//! A range of a buffer that owns the buffer.
//!
//! It promises never to show or offer a byte outside its range, and to be as safe as the
//! buffer below it even if that one answers inconsistently. It never moves or copies
//! bytes, and never makes the buffer larger.
#![allow(unsafe_code, reason = "implements `IoBufMut::advance` by passing the duty on")]

use std::ops::{Bound, RangeBounds};

use super::{IoBuf, IoBufMut, Room};

/// What every buffer can do.
pub trait IoBufExt: IoBuf + Sized {
    /// The part of the buffer that `range` names, as a buffer that owns the whole.
    ///
    /// As bytes to send, the slice shows those bytes of the range that the buffer holds.
    /// As room to fill, it offers what of the buffer's room lies within the range: in a
    /// fixed buffer the range itself, in an appending one what is left of the range
    /// behind the bytes already there. So `vec.slice(..4096)` limits a read, and
    /// `array.slice(10..)` fills an array from its byte 10. [`Slice`] says more.
    ///
    /// # Panics
    /// If the range starts behind the buffer's bytes, ends behind its
    /// [`extent`](IoBuf::extent), or starts behind its end.
    ///
    /// # Examples
    /// ```
    /// use coronet_io::buf::{IoBuf, IoBufExt};
    ///
    /// let rest = "hello, world".slice(7..);
    /// assert_eq!(rest.as_bytes(), b"world");
    /// assert_eq!(rest.into_inner(), "hello, world");
    /// ```
    fn slice(self, range: impl RangeBounds<usize>) -> Slice<Self> {
        Slice::new(self, range)
    }
}

impl<B: IoBuf> IoBufExt for B {}

/// A range of a buffer; made by [`IoBufExt::slice`].
///
/// Positions count from the beginning of the buffer below. With `len` the number of bytes
/// that buffer holds:
///
/// | | bytes shown | room | after `n` bytes arrived |
/// |---|---|---|---|
/// | over an appending buffer | `start..min(len, end)` | `len..end`, empty if `len >= end` | `len` is `n` more |
/// | over a fixed buffer | `start..end` | `start..end` | bytes `start..start + n` are new |
///
/// An open range (`10..`) ends where the buffer's extent ends. A slice of a slice counts
/// from the beginning of the outer one and stays within it.
///
/// # Examples
/// ```
/// use coronet_io::buf::{IoBuf, IoBufExt, IoBufMut};
///
/// let mut header = b"HEAD".to_vec();
/// header.reserve(12);
/// let mut window = header.slice(4..10); // six bytes behind the header
/// assert_eq!(window.as_bytes(), b"");
/// assert_eq!(window.put(b"payload"), 6);
/// assert_eq!(window.as_bytes(), b"payloa");
/// assert_eq!(window.into_inner(), b"HEADpayloa");
///
/// let mut window = [0u8; 6].slice(2..5);
/// assert_eq!(window.put(b"abcdef"), 3);
/// assert_eq!(window.into_inner(), *b"\0\0abc\0");
/// ```
#[derive(Debug, Clone)]
pub struct Slice<B> {
    buf: B,
    start: usize,
    /// At most the buffer's extent; the extent itself for an open range.
    end: usize,
    /// What the latest `spare` found below, so that `advance` acts on the same answer.
    kind: Kind,
}

/// Where a buffer's room is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Behind its bytes: filling it makes the buffer longer.
    Appending,
    /// The same memory as its bytes: filling it leaves nothing to record.
    Fixed,
}

impl<B: IoBuf> Slice<B> {
    pub(super) fn new(buf: B, range: impl RangeBounds<usize>) -> Self {
        let len = buf.as_bytes().len();
        let extent = buf.extent().max(len);
        let start = match range.start_bound() {
            Bound::Included(&start) => start,
            Bound::Excluded(&before) => before.checked_add(1).expect("the range starts too far"),
            Bound::Unbounded => 0,
        };
        let end = match range.end_bound() {
            Bound::Included(&last) => last.checked_add(1).expect("the range ends too far"),
            Bound::Excluded(&end) => end,
            Bound::Unbounded => extent,
        };
        assert!(start <= len, "the slice starts at {start}, behind the {len} bytes of the buffer");
        assert!(end <= extent, "the slice ends at {end}, behind the buffer's extent of {extent}");
        assert!(start <= end, "the slice starts at {start}, behind its end at {end}");
        Self { buf, start, end, kind: Kind::Appending }
    }

    /// Where the slice begins in the buffer below.
    pub fn start(&self) -> usize {
        self.start
    }

    /// Where the slice ends in the buffer below: the last byte it may ever show is the one
    /// before.
    pub fn end(&self) -> usize {
        self.end
    }

    /// The whole buffer.
    pub fn get_ref(&self) -> &B {
        &self.buf
    }

    /// Gives the whole buffer back.
    pub fn into_inner(self) -> B {
        self.buf
    }
}

impl<B: IoBufMut> Slice<B> {
    /// A slice whose room is that of `buf` without its first `done` bytes, and at most
    /// `count` bytes of it.
    ///
    /// In an appending buffer the bytes done have already left the room, so `done` counts
    /// for fixed buffers only. This is what a loop of reads into one buffer needs.
    pub(crate) fn rest_of_room(mut buf: B, done: usize, count: usize) -> Self {
        let len = buf.as_bytes().len();
        let (start, end) = match kind_of(&mut buf) {
            Kind::Appending => (0, len.saturating_add(count)),
            Kind::Fixed => (done.min(len), done.saturating_add(count).min(len)),
        };
        Self { buf, start, end, kind: Kind::Appending }
    }
}

impl<B: IoBuf> IoBuf for Slice<B> {
    fn as_bytes(&self) -> &[u8] {
        let bytes = self.buf.as_bytes();
        let end = self.end.min(bytes.len());
        // `start` can only lie behind `end` if the buffer shrank by itself.
        &bytes[self.start.min(end)..end]
    }

    fn extent(&self) -> usize {
        self.end.min(self.buf.extent()).saturating_sub(self.start)
    }

    fn share(&self) -> Option<Self> {
        Some(Self { buf: self.buf.share()?, ..*self })
    }
}

impl<B: IoBufMut> IoBufMut for Slice<B> {
    fn spare(&mut self) -> Room<'_> {
        let len = self.buf.as_bytes().len();
        self.kind = kind_of(&mut self.buf);
        let room = self.buf.spare();
        let (start, end) = match self.kind {
            Kind::Fixed => (self.start, self.end),
            Kind::Appending => (0, self.end.saturating_sub(len)),
        };
        let end = end.min(room.len());
        room.range(start.min(end)..end)
    }

    unsafe fn advance(&mut self, count: usize) {
        match self.kind {
            // The memory was initialised before and still is; the buffer below has no
            // length to change.
            Kind::Fixed => {}
            Kind::Appending => {
                // SAFETY: [spare-latest] our latest `spare` ended with the latest `spare` of
                // `buf`, and as `kind` is that call's answer the room we gave out was the
                // *beginning* of its room. So [spare-filled] of our caller is that of `buf`.
                unsafe { self.buf.advance(count) };
            }
        }
    }
}

/// Finds out by comparing addresses, so that no buffer has to be believed: only a room
/// that *is* the buffer's bytes counts as fixed, and a fixed room is never advanced.
fn kind_of<B: IoBufMut>(buf: &mut B) -> Kind {
    let bytes = buf.as_bytes();
    let (bytes_at, len) = (bytes.as_ptr(), bytes.len());
    let room = buf.spare();
    if room.as_ptr() == bytes_at && room.len() == len { Kind::Fixed } else { Kind::Appending }
}
