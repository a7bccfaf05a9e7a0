//! A page-aligned piece of memory that the kernel may write to.
#![allow(unsafe_code, reason = "maps memory that is lent to the kernel")]

use std::io;
use std::ptr;

use rustix::mm::{MapFlags, ProtFlags, mmap_anonymous, munmap};

/// Anonymous memory, zeroed, present from the start, unmapped on drop.
#[derive(Debug)]
pub struct Region {
    base: *mut u8,
    len: usize,
}

impl Region {
    /// Maps `len` bytes.
    ///
    /// # Errors
    /// `ENOMEM`, or `EINVAL` for a length of zero.
    pub fn new(len: usize) -> io::Result<Self> {
        let access = ProtFlags::READ | ProtFlags::WRITE;
        let flags = MapFlags::PRIVATE | MapFlags::POPULATE;
        // SAFETY: [group-mapped] no address is given, so the kernel picks one where nothing is mapped.
        let base = unsafe { mmap_anonymous(ptr::null_mut(), len, access, flags) }?;
        Ok(Self { base: base.cast(), len })
    }

    /// The first byte.
    #[must_use]
    pub fn base(&self) -> *mut u8 {
        self.base
    }

    /// The byte at `offset`.
    ///
    /// # Panics
    /// If `offset` lies behind the end.
    #[must_use]
    pub fn at(&self, offset: usize) -> *mut u8 {
        assert!(offset <= self.len, "offset {offset} in a region of {} bytes", self.len);
        self.base.wrapping_add(offset)
    }
}

impl Drop for Region {
    fn drop(&mut self) {
        // SAFETY: [group-mapped] `base` and `len` are those of the mapping made in `new`, and `self`
        // goes away.
        // A failure would leak the mapping, no more.
        let _ = unsafe { munmap(self.base.cast(), self.len) };
    }
}
