//! The only place that touches lent memory. Its callers do so at effect time, and never after
//! an operation is done.

#![allow(unsafe_code, reason = "reads and writes memory that operations have lent, as a kernel does")]

use coronet_ring::pool::GroupMemory;
use coronet_ring::{Message, Span, SpanMut};

/// Reads up to `count` lent bytes from `start` on.
pub(crate) fn read(span: &Span<'_>, start: usize, count: usize) -> Vec<u8> {
    let len = span.len() as usize;
    assert!(start <= len, "byte {start} of {len}");
    let count = count.min(len - start);
    let from = span.as_ptr().wrapping_add(start);
    #[cfg(feature = "mutants")]
    coronet_ring::mutants::touch(from as usize, count);
    // SAFETY: [loan-pinned] the operation is not done, so its bytes stay where they are and nobody
    // writes them; `start + count` lies within the span.
    unsafe { std::slice::from_raw_parts(from, count) }.to_vec()
}

/// Writes `bytes` into lent room from `start` on.
pub(crate) fn write(span: &SpanMut<'_>, start: usize, bytes: &[u8]) {
    let len = span.len() as usize;
    assert!(start + bytes.len() <= len, "{} bytes at {start} of {len}", bytes.len());
    let to = span.as_mut_ptr().wrapping_add(start);
    #[cfg(feature = "mutants")]
    coronet_ring::mutants::touch(to as usize, bytes.len());
    // SAFETY: [loan-pinned] the operation is not done, so its room stays where it is and nobody else
    // touches it; the bytes fit, as asserted.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}

/// Reads up to `count` bytes of a message from `start` on.
pub(crate) fn read_message(message: &Message<'_>, start: usize, count: usize) -> Vec<u8> {
    // SAFETY: [loan-pinned] the header stands in the operation, which is not done.
    let header = unsafe { &*message.as_ptr() };
    let mut bytes = Vec::new();
    let mut skip = start;
    for index in 0..message.slices() {
        let part = header.msg_iov.wrapping_add(index);
        // SAFETY: [loan-pinned] the header says that so many slices stand there, and the operation owns them.
        let part = unsafe { &*part };
        let skipped = skip.min(part.iov_len);
        skip -= skipped;
        let wanted = (part.iov_len - skipped).min(count - bytes.len());
        if wanted == 0 {
            continue;
        }
        let from = part.iov_base.cast::<u8>().wrapping_add(skipped);
        // SAFETY: [loan-pinned] the slice is lent until the operation is done, and the part lies within it.
        bytes.extend_from_slice(unsafe { std::slice::from_raw_parts(from, wanted) });
    }
    bytes
}

/// One entry of a buffer ring, as `io_uring_buf` lies in memory.
#[repr(C)]
#[derive(Clone, Copy)]
pub(crate) struct BufferEntry {
    pub(crate) address: u64,
    pub(crate) len: u32,
    pub(crate) buffer: u16,
    tail: u16,
}

const _: () = assert!(size_of::<BufferEntry>() == 16, "struct io_uring_buf");

/// The memory of one buffer ring, which the program maps until it closed the group.
#[derive(Clone, Copy)]
pub(crate) struct RingMemory {
    start: *const BufferEntry,
    entries: u16,
}

impl RingMemory {
    pub(crate) fn new(memory: &GroupMemory) -> Self {
        Self { start: memory.ring_address() as *const BufferEntry, entries: memory.entries() }
    }

    /// The first position that the program has not published.
    pub(crate) fn tail(self) -> u16 {
        // SAFETY: [group-mapped] the ring is mapped and starts with an entry, whose last field is the tail.
        let tail = unsafe { std::ptr::addr_of!((*self.start).tail) };
        // SAFETY: [group-mapped] mapped, aligned, and written by this thread only.
        unsafe { tail.read_volatile() }
    }

    pub(crate) fn entry(self, position: u16) -> BufferEntry {
        let index = usize::from(position & (self.entries - 1));
        let entry = self.start.wrapping_add(index);
        // SAFETY: [group-mapped] the index is below the number of entries; [buffer-held] the caller looks
        // at published positions only, which the program does not write.
        unsafe { entry.read() }
    }
}

/// Writes into a buffer that a ring named.
pub(crate) fn write_buffer(entry: BufferEntry, start: u32, bytes: &[u8]) {
    assert!(start as usize + bytes.len() <= entry.len as usize, "more bytes than the buffer has");
    let to = (entry.address as *mut u8).wrapping_add(start as usize);
    // SAFETY: [group-mapped] the entry names a mapped buffer; [buffer-held] it was published, so nobody
    // reads or writes this part of it before it is reported.
    unsafe { std::ptr::copy_nonoverlapping(bytes.as_ptr(), to, bytes.len()) };
}
