//! What the processor expects of the returns that follow a system call.
//!
//! A processor keeps where calls will return to on a small stack of its own, and runs ahead to what stands there.
//! After a system call those are places in the kernel, so that a function which made one is expected to return into
//! it. Nothing comes of it, but a processor of the family Zen pays for it in the kernel's *next* calls: a send and a
//! receive on a loopback connection took 13,100 cycles where no return stood behind them, 16,600 with five behind
//! each, and 13,000 to 13,500 with five and this. `docs/BENCHMARKS.md` has more.
//!
//! It is for calls that are made once per message; who makes them says so.

#![allow(unsafe_code, reason = "a call that is never returned from can only be written in assembly")]

/// How many returns are covered: those of our own functions, and some of the program's. Processors remember 16 or 32.
#[cfg(target_arch = "x86_64")]
const COVERED: usize = 16;

/// Lets the next returns be expected here, where running ahead stops at once. Some 20 cycles.
///
/// Where a shadow stack ties each return to its call it does nothing.
#[inline(always)]
pub(crate) fn renew() {
    #[cfg(target_arch = "x86_64")]
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
