//! The allocator: pages of its own for each allocation, and none for what is freed.
//!
//! An allocation ends where its last page ends, as far as its alignment allows, and one page without
//! access follows. Addresses are used once: what was freed stays without access for the rest of the
//! process, so nothing else is ever found there.

#![allow(unsafe_code, reason = "an allocator is an unsafe trait, and this one maps memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::ptr::null_mut;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect};

/// Of x86-64; with a larger one every allocation fails, which is seen at once.
const PAGE: usize = 4096;
/// Addresses that are set aside: enough for a hundred million allocations, and no memory.
const ARENA: usize = 1 << 40;

static START: OnceLock<usize> = OnceLock::new();
static USED: AtomicUsize = AtomicUsize::new(0);

/// Gives each allocation pages of its own. Only a thread that panics gets ordinary memory: its backtrace
/// is made of more pieces than a process may have mappings.
pub(crate) struct Guard;

const CLOSED: MapFlags = MapFlags::PRIVATE.union(MapFlags::NORESERVE);

/// Where the addresses begin; zero if there are none.
fn arena() -> usize {
    *START.get_or_init(|| {
        // SAFETY: [guard-pages] a new mapping, at an address that the kernel chooses.
        let start = unsafe { mmap_anonymous(null_mut(), ARENA, ProtFlags::empty(), CLOSED) };
        start.map_or(0, |start| start.addr())
    })
}

/// Bytes of the pages of an allocation, without the one behind it.
fn pages(layout: Layout) -> usize {
    layout.size().max(1).next_multiple_of(PAGE)
}

/// Where the allocation begins in its pages.
fn offset(layout: Layout) -> usize {
    (pages(layout) - layout.size()) & !(layout.align() - 1)
}

// SAFETY: [guard-pages] addresses are handed out once, with the size and the alignment that were asked for,
// and what is not from here goes to `System` as it came; no call allocates or unwinds.
unsafe impl GlobalAlloc for Guard {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        if std::thread::panicking() {
            // SAFETY: [guard-pages] the caller keeps the contract of `System`, which is that of this trait.
            return unsafe { System.alloc(layout) };
        }
        let (arena, len) = (arena(), pages(layout));
        let place = USED.fetch_add(len + PAGE, Ordering::Relaxed);
        if arena == 0 || layout.align() > PAGE || place.saturating_add(len) >= ARENA {
            return null_mut();
        }
        let start = std::ptr::with_exposed_provenance_mut::<u8>(arena + place);
        // SAFETY: [guard-pages] pages of the arena that nobody was given before.
        let opened = unsafe { mprotect(start.cast(), len, MprotectFlags::READ | MprotectFlags::WRITE) };
        if opened.is_err() { null_mut() } else { start.wrapping_add(offset(layout)) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        if memory.addr().wrapping_sub(arena()) >= ARENA {
            // SAFETY: [guard-pages] not from the arena, so `alloc` got it from `System`.
            return unsafe { System.dealloc(memory, layout) };
        }
        let start = memory.wrapping_sub(offset(layout)).cast();
        // SAFETY: [guard-pages] the pages of an allocation of this layout, which the caller gives up; mapped anew,
        // because neighbours without access then become one mapping, of which a process has not many.
        let closed =
            unsafe { mmap_anonymous(start, pages(layout), ProtFlags::empty(), CLOSED | MapFlags::FIXED) };
        if closed.is_err() {
            std::process::abort();
        }
    }
}
