//! What the processor expects of the returns that follow a system call.
//!
//! A processor keeps where calls will return to on a small stack of its own, and runs ahead to what stands there.
//! After a system call that are addresses of the kernel, so a function that made one is predicted to return into it.
//! That run ahead is thrown away, but a processor of the family Zen has paid for it in the kernel's next calls: 13,100
//! cycles for a send and a receive of TCP without a return in between, 16,500 with one behind each, 13,300 where this
//! stands between (`docs/BENCHMARKS.md`).
//!
//! Which calls are worth it is decided by who makes them: those made once per message.

#![allow(unsafe_code, reason = "calls and returns of its own making can only be written in assembly")]

/// As many as the processors of today remember. What is left of the kernel's is reached by code that is deeper.
#[cfg(target_arch = "x86_64")]
const REMEMBERED: usize = 32;

/// Replaces what the processor expects by an address of this function, where running ahead stops at once.
///
/// It takes some 50 cycles. Where a shadow stack holds returns to their calls it does nothing.
#[inline(always)]
pub(crate) fn renew() {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: [stack-kept] each call pushes one word below what the compiler uses, and all are dropped together.
    unsafe {
        std::arch::asm!(
            // It stays zero where there is no shadow stack.
            "rdsspq {shadow}",
            "test {shadow}, {shadow}",
            "jnz 5f",
            "2: call 4f",
            // Reached by prediction only.
            "3: pause",
            "lfence",
            "jmp 3b",
            "4: dec {left:e}",
            "jnz 2b",
            "add rsp, {pushed}",
            "5:",
            shadow = inout(reg) 0_u64 => _,
            left = inout(reg) REMEMBERED as u32 => _,
            pushed = const REMEMBERED * size_of::<u64>(),
        );
    }
}
