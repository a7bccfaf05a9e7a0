//! Asks the processor for memory that is going to be read soon.

#![allow(unsafe_code, reason = "the prefetch instruction takes an address that it does not read")]

/// Starts loading the cache line at `address`, whatever is there.
#[inline]
pub(crate) fn prefetch(address: *const ()) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: [prefetch-harmless] the instruction changes no memory and faults on no address.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) };
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = address;
}
