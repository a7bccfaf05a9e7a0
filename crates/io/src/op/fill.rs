//! A buffer whose room is lent to be filled, and the one place where what the kernel
//! reports becomes bytes of the buffer.

#![allow(unsafe_code, reason = "tells a buffer how much of its room the kernel filled")]

use coronet_ring::{Done, SpanMut};

use crate::buf::{BufResult, IoBufMut};

/// A buffer, and how much room of it was lent.
pub(super) struct Fill<B> {
    buf: B,
    lent: u32,
}

impl<B: IoBufMut> Fill<B> {
    pub(super) fn new(buf: B) -> Self {
        Self { buf, lent: 0 }
    }

    pub(super) fn lend(&mut self) -> SpanMut<'_> {
        let span = self.buf.spare().lend();
        self.lent = span.len();
        span
    }

    /// Gives the buffer back with the bytes that `done` says were filled.
    pub(super) fn finish<O>(mut self, done: &Done<O>) -> BufResult<usize, B> {
        let result = done.value().map(|count| {
            assert!(count <= self.lent, "the kernel reported {count} bytes into {}", self.lent);
            // SAFETY: [spare-latest] `lend` was the last to touch the buffer, which stood in its slot since;
            // [done-genuine] [spare-filled] the kernel
            // filled that many bytes from the start of the room.
            unsafe { self.buf.advance(count as usize) };
            count as usize
        });
        (result, self.buf)
    }
}
