//! The kernel's side of a buffer group, played in user space: which buffer comes next.
//!
//! It reads the ring as the kernel would (`io_uring_register_buf_ring(3)`) and answers with
//! the kernel's flags, so the bookkeeping of `pool/group.rs` does not know the difference.
//! It picks; the receive itself is `perform.rs`'s.

#![allow(unsafe_code, reason = "reads the ring of a group, which it knows by address")]

use std::ptr::NonNull;
use std::sync::atomic::{AtomicU16, Ordering};

use io_uring::types::BufRingEntry;

use crate::completion::{BUFFER, BUFFER_MORE, BUFFER_SHIFT};
use crate::pool::GroupMemory;

/// Picks the buffers of one group, in ring order.
pub(super) struct Picker {
    ring: NonNull<BufRingEntry>,
    entries: u16,
    /// The next position; free-running.
    head: u16,
    /// Bytes of the buffer at the head that were filled and reported (incremental).
    filled: u32,
    incremental: bool,
}

/// Room in one buffer.
#[derive(Clone, Copy)]
pub(super) struct Picked {
    buffer: u16,
    pub(super) start: *mut u8,
    pub(super) len: u32,
}

impl Picker {
    /// # Safety
    /// - `memory` stays mapped as long as the picker is used. [group-mapped]
    pub(super) unsafe fn new(memory: &GroupMemory, incremental: bool) -> Self {
        let ring = NonNull::new(memory.ring_address() as *mut BufRingEntry).expect("it is mapped");
        Self { ring, entries: memory.entries(), head: 0, filled: 0, incremental }
    }

    /// The room that the next receive fills; `None` if the group has no buffer.
    pub(super) fn peek(&self) -> Option<Picked> {
        // SAFETY: [group-mapped] the mapping starts with the first entry, whose reserved word is the tail.
        let tail = unsafe { BufRingEntry::tail(self.ring.as_ptr()) };
        // SAFETY: [group-mapped] aligned and mapped; `GroupMemory::publish` writes it atomically.
        let tail = unsafe { AtomicU16::from_ptr(tail.cast_mut()) }.load(Ordering::Acquire);
        if tail == self.head {
            return None;
        }
        let index = usize::from(self.head & (self.entries - 1));
        // SAFETY: [group-mapped] `index` is below `entries`, a power of two, so the entry lies in the mapping.
        let entry = unsafe { self.ring.add(index) };
        // SAFETY: [buffer-held] entries between head and tail are published, and changed by nobody.
        let entry = unsafe { entry.as_ref() };
        let start = (entry.addr() as *mut u8).wrapping_add(self.filled as usize);
        Some(Picked { buffer: entry.bid(), start, len: entry.len() - self.filled })
    }

    /// Notes that `bytes` of `picked` are filled; the flags that say so in a completion.
    pub(super) fn took(&mut self, picked: Picked, bytes: u32) -> u32 {
        debug_assert!(bytes <= picked.len);
        let buffer = BUFFER | u32::from(picked.buffer) << BUFFER_SHIFT;
        if self.incremental && bytes < picked.len {
            self.filled += bytes;
            return buffer | BUFFER_MORE;
        }
        self.filled = 0;
        self.head = self.head.wrapping_add(1);
        buffer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn published(memory: &GroupMemory, buffers: std::ops::Range<u16>) {
        for buffer in buffers.clone() {
            memory.write_entry(buffer, buffer % memory.entries());
        }
        memory.publish(buffers.end);
    }

    #[test]
    fn buffers_are_picked_in_ring_order_until_the_ring_is_empty() {
        let memory = GroupMemory::new(2, 16).unwrap();
        published(&memory, 0..2);
        // SAFETY: [group-mapped] `memory` outlives the picker.
        let mut picker = unsafe { Picker::new(&memory, false) };
        for expected in 0..2 {
            let picked = picker.peek().unwrap();
            assert_eq!((picked.buffer, picked.len), (expected, 16));
            assert_eq!(picker.took(picked, 3), BUFFER | u32::from(expected) << BUFFER_SHIFT);
        }
        assert!(picker.peek().is_none());
        published(&memory, 2..3);
        assert_eq!(picker.peek().unwrap().buffer, 0);
    }

    #[test]
    fn an_incremental_buffer_is_filled_piece_by_piece_and_left_when_it_is_full() {
        let memory = GroupMemory::new(2, 16).unwrap();
        published(&memory, 0..2);
        // SAFETY: [group-mapped] `memory` outlives the picker.
        let mut picker = unsafe { Picker::new(&memory, true) };
        let first = picker.peek().unwrap();
        assert_eq!(picker.took(first, 10), BUFFER | BUFFER_MORE);
        let rest = picker.peek().unwrap();
        assert_eq!((rest.buffer, rest.len, rest.start), (0, 6, first.start.wrapping_add(10)));
        assert_eq!(picker.took(rest, 6), BUFFER, "full: the group may have it back");
        let next = picker.peek().unwrap();
        assert_eq!((next.buffer, next.len), (1, 16));
    }
}
