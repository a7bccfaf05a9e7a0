//! The memory of one group: a ring of entries that the kernel reads, and the
//! buffers that they name. Mapped, not allocated, so that an untouched buffer costs
//! nothing.

#![allow(unsafe_code, reason = "maps memory, and writes the ring that the kernel reads")]

use std::io;
use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};
use rustix::param::page_size;

/// The most entries of one ring: the kernel's limit.
pub(crate) const ENTRIES_MAX: u16 = 1 << 15;
const ENTRY_BYTES: usize = size_of::<BufRingEntry>();
const _: () = assert!(ENTRY_BYTES == 16, "struct io_uring_buf");

/// One private mapping, unmapped on drop.
struct Mapping {
    start: NonNull<u8>,
    bytes: usize,
}

impl Mapping {
    fn new(bytes: usize) -> io::Result<Self> {
        // SAFETY: [group-mapped] a fresh private mapping, chosen by the kernel, overlaps nothing of ours.
        let start = unsafe {
            let (access, flags) =
                (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE | MapFlags::NORESERVE);
            mmap_anonymous(std::ptr::null_mut(), bytes, access, flags)
        }?;
        let start = NonNull::new(start.cast()).ok_or(io::ErrorKind::OutOfMemory)?;
        Ok(Self { start, bytes })
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: [group-mapped] the last owner is gone, so nothing refers to the mapping.
        let unmapped = unsafe { munmap(self.start.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

/// The entries and buffers of one group.
pub struct GroupMemory {
    ring: Mapping,
    buffers: Mapping,
    entries: u16,
    buffer_bytes: u32,
}

impl GroupMemory {
    pub(crate) fn new(entries: u16, buffer_bytes: u32) -> io::Result<Self> {
        assert!(entries.is_power_of_two() && entries <= ENTRIES_MAX, "{entries} entries");
        assert!(buffer_bytes > 0, "a buffer of no bytes");
        Ok(Self {
            ring: Mapping::new(usize::from(entries) * ENTRY_BYTES)?,
            buffers: Mapping::new(usize::from(entries) * buffer_bytes as usize)?,
            entries,
            buffer_bytes,
        })
    }

    /// Where the ring starts, page-aligned.
    pub fn ring_address(&self) -> u64 {
        self.ring.start.as_ptr() as u64
    }

    /// Entries of the ring, and buffers of the group.
    pub fn entries(&self) -> u16 {
        self.entries
    }

    /// Bytes of one buffer.
    pub fn buffer_bytes(&self) -> u32 {
        self.buffer_bytes
    }

    /// Writes the entry at a free-running position; the kernel sees it after [`Self::publish`].
    pub(crate) fn write_entry(&self, position: u16, buffer: u16) {
        assert!(buffer < self.entries, "buffer {buffer} of {}", self.entries);
        let index = usize::from(position & (self.entries - 1));
        let start = self.buffer_start(buffer) as u64;
        // SAFETY: [group-mapped] `index` is below `entries`, so the entry lies in the mapping.
        let entry = unsafe { self.ring.start.cast::<BufRingEntry>().add(index) };
        // SAFETY: [buffer-held] positions beyond the tail are ours; the fields are written without
        // touching the tail, which shares the first entry's reserved word.
        let entry = unsafe { &mut *entry.as_ptr() };
        entry.set_addr(start);
        entry.set_len(self.buffer_bytes);
        entry.set_bid(buffer);
    }

    /// Shows the kernel all entries below `tail`.
    pub(crate) fn publish(&self, tail: u16) {
        let first = self.ring.start.cast::<BufRingEntry>().as_ptr();
        // SAFETY: [group-mapped] the mapping starts with the first entry, whose reserved word is the tail.
        let tail_address = unsafe { BufRingEntry::tail(first) };
        // SAFETY: [group-mapped] aligned, mapped, and written only here, by this thread; the kernel reads it.
        let shared = unsafe { AtomicU16::from_ptr(tail_address.cast_mut()) };
        // Release: the kernel that sees the tail sees the entries.
        shared.store(tail, Ordering::Release);
    }

    /// Gives the memory of a buffer that is neither in the ring nor leased back to the system: whole pages that are
    /// its own. It can be used again, and begins with zeros.
    pub(crate) fn discard(&self, buffer: u16) {
        assert!(buffer < self.entries, "buffer {buffer} of {}", self.entries);
        let page = page_size();
        let start = self.buffer_start(buffer);
        let skipped = start.align_offset(page).min(self.buffer_bytes as usize);
        let whole = (self.buffer_bytes as usize - skipped) / page * page;
        let start = start.wrapping_add(skipped);
        // SAFETY: [group-mapped] the pages lie in the mapping, within one buffer; [buffer-held] the kernel does not
        // know of it, and no lease covers it, so nobody misses what it held.
        let discarded = unsafe { madvise(start.cast(), whole, Advice::LinuxDontNeed) };
        debug_assert!(discarded.is_ok(), "{discarded:?}");
    }

    /// Bytes of one buffer that the kernel has reported.
    ///
    /// # Safety
    /// - The caller holds the buffer, and the kernel has filled this part of it. [buffer-held]
    #[inline]
    pub(crate) unsafe fn bytes(&self, buffer: u16, offset: u32, len: u32) -> &[u8] {
        debug_assert!(buffer < self.entries);
        debug_assert!(u64::from(offset) + u64::from(len) <= u64::from(self.buffer_bytes));
        // SAFETY: [buffer-held] offset and length lie in the buffer, as the caller vouches.
        let start = unsafe { self.buffer_start(buffer).add(offset as usize) };
        // SAFETY: [buffer-held] nobody writes these bytes while the caller holds the buffer;
        // [group-mapped] they stay mapped as long as `self`.
        unsafe { std::slice::from_raw_parts(start, len as usize) }
    }

    #[inline]
    fn buffer_start(&self, buffer: u16) -> *mut u8 {
        self.buffers.start.as_ptr().wrapping_add(usize::from(buffer) * self.buffer_bytes as usize)
    }
}
