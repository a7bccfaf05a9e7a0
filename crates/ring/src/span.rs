//! Pointers that are lent, branded with the life of what they point into.
//!
//! A [`Span`] can only be made from a borrow, so safe code cannot lend memory it
//! does not have. The table erases the brand once the operation stands still.

use std::marker::PhantomData;
use std::mem::MaybeUninit;

/// The most bytes that one operation moves: the kernel's own limit (`MAX_RW_COUNT`).
pub const SPAN_LEN_MAX: usize = 0x7fff_f000;

/// Bytes that the kernel may read.
#[derive(Clone, Copy, Debug)]
pub struct Span<'a> {
    start: *const u8,
    len: u32,
    brand: PhantomData<&'a [u8]>,
}

impl<'a> Span<'a> {
    /// Lends `bytes`, at most [`SPAN_LEN_MAX`] of them.
    pub fn new(bytes: &'a [u8]) -> Self {
        let len = bytes.len().min(SPAN_LEN_MAX) as u32;
        Self { start: bytes.as_ptr(), len, brand: PhantomData }
    }

    /// What is behind the first `bytes`, at most all of them.
    pub(crate) fn behind(self, bytes: u32) -> Self {
        assert!(bytes <= self.len, "{bytes} of {} bytes went", self.len);
        Self { start: self.start.wrapping_add(bytes as usize), len: self.len - bytes, ..self }
    }

    /// Address of the first byte.
    pub fn as_ptr(&self) -> *const u8 {
        self.start
    }

    /// Number of bytes.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True if there is nothing to read.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// Room that the kernel may fill.
#[derive(Debug)]
pub struct SpanMut<'a> {
    start: *mut u8,
    len: u32,
    brand: PhantomData<&'a mut [u8]>,
}

impl<'a> SpanMut<'a> {
    /// Lends `room`, at most [`SPAN_LEN_MAX`] bytes of it.
    pub fn new(room: &'a mut [MaybeUninit<u8>]) -> Self {
        let len = room.len().min(SPAN_LEN_MAX) as u32;
        Self { start: room.as_mut_ptr().cast(), len, brand: PhantomData }
    }

    /// Lends bytes that are there already, and are overwritten.
    pub fn over(bytes: &'a mut [u8]) -> Self {
        let len = bytes.len().min(SPAN_LEN_MAX) as u32;
        Self { start: bytes.as_mut_ptr(), len, brand: PhantomData }
    }

    /// Address of the first byte.
    pub fn as_mut_ptr(&self) -> *mut u8 {
        self.start
    }

    /// Number of bytes.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True if there is no room.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}

/// `struct user_msghdr` of the kernel. C libraries lay their `msghdr` out so, and differ in the types of its
/// fields and in how they name what is between them.
#[repr(C)]
struct Header {
    name: *mut libc::c_void,
    name_len: libc::c_int,
    parts: *mut libc::iovec,
    part_count: usize,
    control: *mut libc::c_void,
    control_len: usize,
    flags: libc::c_uint,
}

const _: () = assert!(size_of::<Header>() == size_of::<libc::msghdr>());
const _: () = assert!(align_of::<Header>() == align_of::<libc::msghdr>());

/// Where an operation keeps the message header that points at its own buffers.
pub struct MessageSpace {
    header: Header,
    parts: Vec<libc::iovec>,
}

/// The most slices in one message: the kernel's `UIO_MAXIOV`.
pub const MESSAGE_PARTS_MAX: usize = 1024;

impl Default for MessageSpace {
    fn default() -> Self {
        Self::new()
    }
}

impl MessageSpace {
    /// An empty header.
    pub fn new() -> Self {
        let header = Header {
            name: std::ptr::null_mut(),
            name_len: 0,
            parts: std::ptr::null_mut(),
            part_count: 0,
            control: std::ptr::null_mut(),
            control_len: 0,
            flags: 0,
        };
        Self { header, parts: Vec::new() }
    }

    /// Points the header at `slices`: at most [`MESSAGE_PARTS_MAX`] of them, and at
    /// most [`SPAN_LEN_MAX`] bytes in all, as the kernel would cut it.
    pub fn gather<'a>(&'a mut self, slices: impl Iterator<Item = &'a [u8]>) -> Message<'a> {
        self.parts.clear();
        let mut room = SPAN_LEN_MAX;
        for slice in slices.filter(|slice| !slice.is_empty()).take(MESSAGE_PARTS_MAX) {
            let len = slice.len().min(room);
            if len == 0 {
                break;
            }
            room -= len;
            let part = libc::iovec { iov_base: slice.as_ptr().cast_mut().cast(), iov_len: len };
            self.parts.push(part);
        }
        self.header.parts = self.parts.as_mut_ptr();
        self.header.part_count = self.parts.len();
        Message { header: &self.header, bytes: SPAN_LEN_MAX - room }
    }
}

/// A header that points into the operation it belongs to.
#[derive(Clone, Copy)]
pub struct Message<'a> {
    header: &'a Header,
    bytes: usize,
}

impl Message<'_> {
    /// The header, as `sendmsg(2)` takes it.
    pub fn as_ptr(&self) -> *const libc::msghdr {
        std::ptr::from_ref(self.header).cast()
    }

    /// How many slices the header points at.
    pub fn slices(&self) -> usize {
        self.header.part_count
    }

    /// Bytes in all slices together.
    pub fn len(&self) -> usize {
        self.bytes
    }

    /// True if there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.bytes == 0
    }
}

impl std::fmt::Debug for Message<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Message({} slices, {} bytes)", self.header.part_count, self.bytes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_skips_empty_slices_and_counts_its_bytes() {
        let mut space = MessageSpace::new();
        let parts: [&[u8]; 3] = [b"ab", b"", b"cde"];
        let message = space.gather(parts.into_iter());
        assert_eq!((message.len(), message.slices()), (5, 2));
    }
}
