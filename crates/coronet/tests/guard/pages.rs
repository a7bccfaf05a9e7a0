//! The allocator: pages of its own for each allocation, and none for what is freed.
//!
//! An allocation ends where its last page ends, as far as its alignment allows, and one page without
//! access follows. Freed addresses stay reserved without access for the rest of the process, so
//! nothing else is ever found there.

#![allow(unsafe_code, reason = "an allocator is an unsafe trait, and this one maps memory")]

use std::alloc::{GlobalAlloc, Layout};
use std::ptr::null_mut;

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// Of x86-64; a larger page elsewhere makes every allocation fail, which is seen at once.
const PAGE: usize = 4096;

/// Gives each allocation pages of its own.
pub(crate) struct Guard;

/// Bytes of the pages of an allocation, without the one behind it.
fn pages(layout: Layout) -> usize {
    layout.size().max(1).next_multiple_of(PAGE)
}

/// Where the allocation begins in its pages.
fn offset(layout: Layout) -> usize {
    (pages(layout) - layout.size()) & !(layout.align() - 1)
}

// SAFETY: [guard-pages] memory is mapped for one allocation and never for another, and has the size
// and the alignment that were asked for; no call allocates or unwinds.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if layout.align() > PAGE {
            return null_mut();
        }
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE;
        let len = pages(layout);
        // SAFETY: [guard-pages] a new mapping, at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(null_mut(), len + PAGE, ProtFlags::empty(), flags) };
        let Ok(start) = start else { return null_mut() };
        // SAFETY: [guard-pages] the first pages of the mapping made above.
        let opened = unsafe { mprotect(start, len, MprotectFlags::READ | MprotectFlags::WRITE) };
        if opened.is_err() {
            return null_mut();
        }
        start.cast::<u8>().wrapping_add(offset(layout))
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let start = memory.wrapping_sub(offset(layout)).cast();
        let flags = MapFlags::PRIVATE | MapFlags::NORESERVE | MapFlags::FIXED;
        // SAFETY: [guard-pages] the pages of an allocation of this layout, which the caller gives up; mapped anew,
        // because neighbours without access then become one mapping, of which a process has not many.
        let closed = unsafe { mmap_anonymous(start, pages(layout), ProtFlags::empty(), flags) };
        if closed.is_err() {
            std::process::abort();
        }
    }
}
