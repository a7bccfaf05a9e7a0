//! Appending buffers: their room lies behind their bytes.
//!
//! They are never made larger here: a read is bounded by the capacity the caller chose.
#![allow(unsafe_code, reason = "`set_len` and `advance_mut` take over bytes that somebody else initialised")]

use super::{IoBuf, IoBufMut, Room};

impl IoBuf for Vec<u8> {
    fn as_bytes(&self) -> &[u8] {
        self
    }

    fn extent(&self) -> usize {
        self.capacity()
    }
}

impl IoBufMut for Vec<u8> {
    fn spare(&mut self) -> Room<'_> {
        Room::from(self.spare_capacity_mut())
    }

    unsafe fn advance(&mut self, count: usize) {
        let room = self.capacity() - self.len();
        assert!(count <= room, "advanced {count} bytes in {room}");
        // SAFETY: the assertion keeps the new length within the capacity; the bytes up to
        // the old length are initialised, and [spare-filled] so are the `count` behind
        // them, which are the beginning of `spare_capacity_mut`. [spare-latest] nothing
        // has reallocated since.
        unsafe { self.set_len(self.len() + count) };
    }
}

#[cfg(feature = "bytes")]
mod with_bytes {
    use bytes::{BufMut, BytesMut};

    use super::{IoBuf, IoBufMut, Room};

    impl IoBuf for BytesMut {
        fn as_bytes(&self) -> &[u8] {
            self
        }

        fn extent(&self) -> usize {
            self.capacity()
        }
    }

    impl IoBufMut for BytesMut {
        fn spare(&mut self) -> Room<'_> {
            Room::from(self.spare_capacity_mut())
        }

        unsafe fn advance(&mut self, count: usize) {
            let room = self.capacity() - self.len();
            assert!(count <= room, "advanced {count} bytes in {room}");
            // SAFETY: the assertion keeps `count` within the spare capacity, whose first
            // `count` bytes are initialised by [spare-filled] and still the same memory by
            // [spare-latest].
            unsafe { self.advance_mut(count) };
        }
    }
}
