//! Counters of one driver. At rest, when nothing is in flight, they add up:
//! `submitted == delivered + orphaned`.

/// A snapshot of what one driver did so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Operations that were handed to the driver.
    pub submitted: u64,
    /// Operations whose last result reached the one who waited.
    pub delivered: u64,
    /// Operations whose future was dropped before the result; what they produce is given back by rule.
    pub orphaned: u64,
    /// Operations without a last completion: with the kernel, or waiting for room in its queue.
    pub in_flight: u64,
    /// Operations that were still in the kernel at the end of the drain. Their memory is never freed.
    pub leaked: u64,
    /// Completions received, each of a multishot counted; not those of cancels.
    pub completions: u64,
    /// Completions for an operation that was already over. Always zero on a correct kernel.
    pub stale: u64,
    /// Completions that say `EFAULT`: the kernel did not find the memory that it was lent. Always zero,
    /// because operations own what they lend; counted also if nobody waits for them any more.
    pub faulted: u64,
    /// System calls that submitted, waited or both.
    pub enters: u64,
    /// Times that the completion queue was found overflowed.
    pub cq_overflows: u64,
    /// Operations that had to wait in user space because the submission queue was full.
    pub backlogged: u64,
    /// Zero-copy sends that the kernel accepted as such: a notification follows the result.
    pub zero_copy_sent: u64,
    /// Of these, the ones of which the kernel reported that it copied all the same, as it always does on loopback.
    pub zero_copy_copied: u64,
    /// Zero-copy sends whose result has come, failed ones included, and whose memory is not back.
    pub zero_copy_lent: u64,
    /// Time from the result to the notification, in microseconds: the sum over all zero-copy sends that are over.
    pub zero_copy_lent_us: u64,
    /// The longest such time. One of more than 71 minutes counts for less.
    pub zero_copy_lent_us_max: u64,
    /// Kernel-picked buffers that are with the program now.
    pub leased: u64,
    /// Bytes of the buffers that groups have now: with the kernel, with the program, or kept for the next burst.
    pub pool_bytes: u64,
    /// Buffers that were added to groups because they were needed.
    pub pool_grown: u64,
    /// Buffers whose memory groups gave back because they were not needed any more.
    pub pool_shrunk: u64,
}
