//! Buffers that the kernel picks: one shared ring of them.
//!
//! Keeps count of who uses which buffer, in all three ways the kernel hands them out: whole
//! buffers, increments of one buffer, and bundles of successive buffers. A buffer goes back
//! when its last segment is released and the kernel will add no more to it.
#![allow(unsafe_code, reason = "shares a ring of buffer descriptors with the kernel")]

use std::io;
use std::slice;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;
use io_uring::{Submitter, cqueue};

use crate::lane::Outcome;
use crate::region::Region;

/// How the kernel hands out buffers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sharing {
    /// One receive, one buffer.
    Whole,
    /// Receives fill a buffer piece by piece (6.12).
    Incremental,
    /// One receive may take several buffers (6.10).
    Bundle,
}

/// Received bytes that lie in a buffer of the ring.
#[derive(Clone, Copy, Debug)]
pub struct Segment {
    /// Where they start, from the start of the first buffer.
    pub offset: u32,
    /// How many they are.
    pub len: u32,
    /// The buffer.
    pub buffer: u16,
}

/// Buffers of equal size, registered as group 0 of a ring.
///
/// Must live longer than the ring it is registered with.
#[derive(Debug)]
pub struct Buffers {
    descriptors: Region,
    data: Region,
    count: u16,
    size: u32,
    sharing: Sharing,
    tail: u16,
    returned: usize,
    // The buffer at each place of the ring, and the place of each buffer: a bundle is named
    // by its first buffer only.
    order: Vec<u16>,
    place: Vec<u16>,
    // Segments in use per buffer, plus one as long as the kernel may add to it.
    users: Vec<u32>,
    filled: Vec<u32>,
}

/// The buffer group that [`Buffers`] registers.
pub const GROUP: u16 = 0;

/// From the kernel's interface: receives consume a buffer piece by piece.
const PBUF_RING_INC: u16 = 2;

impl Buffers {
    /// Maps `count` buffers of `size` bytes; `count` is rounded up to a power of two.
    ///
    /// # Errors
    /// `EINVAL` if that is more than the kernel's limit of 32768 or 2 GiB; `ENOMEM`.
    pub fn new(count: usize, size: usize, sharing: Sharing) -> io::Result<Self> {
        let invalid = || io::Error::from_raw_os_error(libc::EINVAL);
        let count = u16::try_from(count.next_power_of_two()).map_err(|_| invalid())?;
        let total = size.checked_mul(usize::from(count)).ok_or_else(invalid)?;
        if count > 32768 || size == 0 || total > 1 << 31 {
            return Err(invalid());
        }
        let places = usize::from(count);
        Ok(Self {
            descriptors: Region::new(places * size_of::<BufRingEntry>())?,
            data: Region::new(total)?,
            count,
            size: u32::try_from(size).map_err(|_| invalid())?,
            sharing,
            tail: 0,
            returned: 0,
            order: vec![0; places],
            place: vec![0; places],
            users: vec![0; places],
            filled: vec![0; places],
        })
    }

    /// Registers the group and gives all buffers to the kernel.
    ///
    /// # Safety
    /// - `self` lives longer than the ring of `submitter`. [group-mapped]
    ///
    /// # Errors
    /// `EINVAL` if the kernel does not know this kind of sharing.
    pub unsafe fn register(&mut self, submitter: &Submitter<'_>) -> io::Result<()> {
        let flags = if self.sharing == Sharing::Incremental { PBUF_RING_INC } else { 0 };
        let base = self.descriptors.base().addr() as u64;
        // SAFETY: [group-mapped] the region is page-aligned, holds `count` descriptors, and the caller keeps
        // it for as long as the ring.
        unsafe { submitter.register_buf_ring_with_flags(base, self.count, GROUP, flags) }?;
        for buffer in 0..self.count {
            self.give(buffer);
        }
        self.publish();
        Ok(())
    }

    /// How the kernel hands these out.
    #[must_use]
    pub fn sharing(&self) -> Sharing {
        self.sharing
    }

    /// Takes note of a completed receive and calls `each` with its pieces, in order.
    ///
    /// # Panics
    /// If the kernel names a buffer that it was not given.
    #[inline]
    pub fn received(&mut self, outcome: Outcome, mut each: impl FnMut(Segment)) {
        let Some(mut buffer) = cqueue::buffer_select(outcome.flags) else { return };
        let mut left = u32::try_from(outcome.result).unwrap_or(0);
        let keeps = cqueue::buffer_more(outcome.flags);
        if left == 0 {
            // The end of a stream can name a buffer that stays where it is in the ring.
            return;
        }
        loop {
            let index = usize::from(buffer);
            let start = self.filled[index];
            let len = left.min(self.size - start);
            assert!(len > 0, "buffer {buffer} has no room for {left} bytes");
            left -= len;
            self.filled[index] = start + len;
            self.users[index] += u32::from(keeps);
            each(Segment { offset: u32::from(buffer) * self.size + start, len, buffer });
            if left == 0 {
                return;
            }
            let next = self.place[index].wrapping_add(1) & (self.count - 1);
            buffer = self.order[usize::from(next)];
        }
    }

    /// The bytes of `segment` are no longer needed.
    #[inline]
    pub fn release(&mut self, segment: Segment) {
        let users = &mut self.users[usize::from(segment.buffer)];
        assert!(*users > 0, "buffer {} was released too often", segment.buffer);
        *users -= 1;
        if *users == 0 {
            self.give(segment.buffer);
        }
    }

    /// Where the bytes of `segment` lie.
    #[must_use]
    pub fn address(&self, segment: Segment) -> *const u8 {
        self.data.base().wrapping_add(segment.offset as usize)
    }

    /// The bytes of `segment`.
    ///
    /// # Safety
    /// - `segment` came from [`Self::received`] and was not released. [buffer-held]
    #[must_use]
    pub unsafe fn bytes(&self, segment: Segment) -> &[u8] {
        // SAFETY: [buffer-held] the segment lies inside the data (`received` checked it), and the kernel does
        // not write to bytes that it has handed out until they are given back.
        unsafe { slice::from_raw_parts(self.address(segment), segment.len as usize) }
    }

    /// Lets the kernel see the buffers released since the last call; says how many.
    #[inline]
    pub fn publish(&mut self) -> usize {
        if self.returned == 0 {
            return 0;
        }
        let base: *const BufRingEntry = self.descriptors.base().cast();
        // SAFETY: [group-mapped] `base` is the first descriptor of the ring.
        let tail = unsafe { BufRingEntry::tail(base) }.cast_mut();
        // SAFETY: [group-mapped] `tail` is aligned, lives as long as the region, and is only used atomically:
        // the kernel reads it, this function alone writes it.
        let tail = unsafe { AtomicU16::from_ptr(tail) };
        tail.store(self.tail, Ordering::Release);
        std::mem::take(&mut self.returned)
    }

    #[inline]
    fn give(&mut self, buffer: u16) {
        let index = usize::from(buffer);
        let place = self.tail & (self.count - 1);
        self.order[usize::from(place)] = buffer;
        self.place[index] = place;
        self.users[index] = 1;
        self.filled[index] = 0;
        let base: *mut BufRingEntry = self.descriptors.base().cast();
        let entry = base.wrapping_add(usize::from(place));
        // SAFETY: [buffer-held] `place` is below `count`, and the kernel does not read this descriptor before
        // the tail passes it: at most `count` buffers exist, so its place is free.
        let entry = unsafe { &mut *entry };
        let start = u64::from(buffer) * u64::from(self.size);
        entry.set_addr(self.data.base().addr() as u64 + start);
        entry.set_len(self.size);
        entry.set_bid(buffer);
        self.tail = self.tail.wrapping_add(1);
        self.returned += 1;
    }
}
