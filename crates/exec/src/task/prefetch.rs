//! Asks the processor for the memory of a task that was woken, and runs soon.
//!
//! Tasks that wait among thousands have left the cache by the time they are woken. Wakes come in
//! batches, so the memory of a whole batch is on its way while its first task runs.

#![allow(unsafe_code, reason = "the prefetch instruction takes an address that it does not read")]

use std::ptr::NonNull;

use super::header::Header;

/// The first part of most futures; asking for memory behind a task does no harm.
#[cfg(target_arch = "x86_64")]
const LINES: usize = 4;
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Starts loading a task into the cache.
#[inline]
pub(super) fn prefetch(header: NonNull<Header>) {
    #[cfg(target_arch = "x86_64")]
    // The header is here already: the wake has just read it.
    for line in 1..=LINES {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = header.as_ptr().cast::<i8>().cast_const().wrapping_add(line * LINE_BYTES);
        // SAFETY: [prefetch-harmless] the instruction changes no memory and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = header;
}
