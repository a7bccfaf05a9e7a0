//! Buffer groups, from the kernel's side: which buffer is next, and how much of it is filled.

use super::memory::{RingMemory, write_buffer};

/// One registered ring of buffers.
#[derive(Clone, Copy)]
pub(crate) struct BufferRing {
    memory: RingMemory,
    incremental: bool,
    /// The first position that was not taken; free-running.
    head: u16,
    /// Bytes of the buffer at the head that are filled (incremental).
    filled: u32,
}

/// Where bytes were put.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Picked {
    pub(crate) buffer: u16,
    /// The kernel goes on filling it.
    pub(crate) goes_on: bool,
}

impl BufferRing {
    pub(crate) fn new(memory: RingMemory, incremental: bool) -> Self {
        Self { memory, incremental, head: 0, filled: 0 }
    }

    fn available(&self) -> u16 {
        self.memory.tail().wrapping_sub(self.head)
    }

    /// Bytes that one completion can carry; `None` if there is no buffer.
    pub(crate) fn room(&self, bundle: bool) -> Option<usize> {
        let available = self.available();
        if available == 0 {
            return None;
        }
        let count = if bundle && !self.incremental { available } else { 1 };
        let bytes = |at: u16| self.memory.entry(self.head.wrapping_add(at)).len as usize;
        Some((0..count).map(bytes).sum::<usize>() - self.filled as usize)
    }

    /// Fills buffers from the head on, and takes those that are full or, unless incremental, used.
    pub(crate) fn fill(&mut self, mut bytes: &[u8]) -> Picked {
        let buffer = self.memory.entry(self.head).buffer;
        loop {
            let entry = self.memory.entry(self.head);
            let count = bytes.len().min((entry.len - self.filled) as usize);
            write_buffer(entry, self.filled, &bytes[..count]);
            bytes = &bytes[count..];
            self.filled += count as u32;
            if self.incremental && self.filled < entry.len {
                assert!(bytes.is_empty(), "more bytes than the room");
                return Picked { buffer, goes_on: true };
            }
            self.filled = 0;
            self.head = self.head.wrapping_add(1);
            if bytes.is_empty() {
                return Picked { buffer, goes_on: false };
            }
        }
    }

    /// Takes a buffer for a completion without bytes, as some kernels do at the end of a stream.
    pub(crate) fn take_empty(&mut self) -> Option<Picked> {
        (self.available() > 0).then(|| self.fill(&[]))
    }
}
