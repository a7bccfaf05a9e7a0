//! What the processor expects of the returns that follow a system call.
//!
//! A processor keeps where calls will return to on a small stack of its own, and runs ahead to what stands there.
//! Behind a system call those are places in the kernel, so that a function which made one is expected to return into
//! it. Nothing comes of it, but a processor of AMD pays for it in the kernel's *next* calls: on a Zen 4, a send and a
//! receive on a loopback connection took 13,100 cycles where no return stood behind them, 16,600 with five behind
//! each, and 13,000 to 13,500 with five and this. `docs/BENCHMARKS.md` has more. Others were not measured, and are
//! left alone.
//!
//! It is for calls that are made once per message or once per turn; who makes them says so.

#![allow(unsafe_code, reason = "a call that is never returned from can only be written in assembly")]

#[cfg(target_arch = "x86_64")]
use std::sync::LazyLock;

/// How many returns are covered: those of our own functions, and some of the program's. Processors remember 16 or 32.
#[cfg(target_arch = "x86_64")]
const COVERED: usize = 16;

#[cfg(target_arch = "x86_64")]
static IS_WORTH_IT: LazyLock<bool> = LazyLock::new(|| {
    let vendor = std::arch::x86_64::__cpuid(0);
    [vendor.ebx, vendor.edx, vendor.ecx].map(u32::to_le_bytes).as_flattened() == b"AuthenticAMD"
});

/// Lets the next returns be expected here, where running ahead stops at once. It takes some 20 cycles.
#[inline(always)]
pub(crate) fn renew() {
    #[cfg(target_arch = "x86_64")]
    if *IS_WORTH_IT {
        expect_here();
    }
}

/// Where a shadow stack ties each return to its call this does nothing.
#[cfg(target_arch = "x86_64")]
#[inline(always)]
fn expect_here() {
    // SAFETY: [stack-kept] each call pushes one word below all that the compiler uses, and all are dropped at the end.
    unsafe {
        std::arch::asm!(
            // It stays zero where there is no shadow stack.
            "rdsspq {shadow}",
            "test {shadow}, {shadow}",
            "jnz 4f",
            ".rept {covered}",
            "call 3f",
            // Reached by running ahead only.
            "int3",
            "3:",
            ".endr",
            "add rsp, {covered} * 8",
            "4:",
            shadow = inout(reg) 0_u64 => _,
            covered = const COVERED,
        );
    }
}

#[cfg(all(test, target_arch = "x86_64"))]
mod tests {
    use super::*;

    /// As deep as `depth`, and behind each return of the way back.
    #[inline(never)]
    fn dive(depth: u64, seen: &mut Vec<u64>) -> u64 {
        if depth == 0 {
            return 0;
        }
        let below = dive(depth - 1, seen);
        expect_here();
        seen.push(depth);
        below + depth
    }

    /// The trap: with a word too many or too few left on the stack, the next return goes astray.
    #[test]
    fn whoever_called_is_returned_to() {
        let mut seen = Vec::new();
        assert_eq!(dive(100, &mut seen), 5050);
        assert!(seen.into_iter().eq(1..=100));
    }
}
