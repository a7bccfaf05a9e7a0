//! Counters of the core that asks.

use coronet_io::Receives;
use coronet_io::context::{self, Context};

/// What one core did so far. At rest `submitted == completed + orphaned`; what is under way and nobody has dropped,
/// or was leaked, is added to the right side.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Metrics {
    /// Operations handed to the ring.
    pub submitted: u64,
    /// Operations whose result reached the one who waited.
    pub completed: u64,
    /// Operations whose future was dropped first; their result was given back by rule.
    pub orphaned: u64,
    /// Operations that are not over.
    pub in_flight: u64,
    /// Operations that were still with the kernel at the end of the drain.
    pub leaked: u64,
    /// Completions that say `EFAULT`: the kernel did not find what it was lent. Always zero, because operations own
    /// what they lend. Each is of an operation that another counter has.
    pub faulted: u64,
    /// System calls that submitted, waited or both.
    pub enters: u64,
    /// Times that the completion queue was found overflowed.
    pub cq_overflows: u64,
    /// Sends that lent their bytes to the network.
    pub zero_copy_sent: u64,
    /// Of these, the ones of which the kernel reported that it copied all the same.
    pub zero_copy_copied: u64,
    /// Sends that have their result, and whose bytes the network has not given back.
    pub zero_copy_lent: u64,
    /// Time from the result to the return of the bytes, in microseconds: the sum over all that are back.
    pub zero_copy_lent_us: u64,
    /// The longest such time.
    pub zero_copy_lent_us_max: u64,
    /// Pooled buffers that the program holds.
    pub leased: u64,
    /// Bytes of all pooled buffers: with the kernel, with the program, or kept for the next burst.
    pub pool_bytes: u64,
    /// Buffers that the pool was given beyond those at first, because they were needed.
    pub pool_grown: u64,
    /// Buffers whose memory went back to the system, because they were not needed any more.
    pub pool_shrunk: u64,
    /// Streams that began to be received in large pieces, because their peer sends much.
    pub receives_to_stream: u64,
    /// Streams that went back from there to messages.
    pub receives_to_messages: u64,
    /// Receives into a buffer of the stream's own, because the pool is as large as it may become, or the stream
    /// keeps too much of it.
    pub receives_without_pool: u64,
    /// Times that a stream kept more of a pool that had to grow than one stream may: leases that its reader did
    /// not drop.
    pub receives_over_budget: u64,
    /// Receives that the kernel ended because no pooled buffer was left. Never the user's error.
    pub receives_ran_dry: u64,
    /// Tasks that were spawned and have not finished.
    pub tasks: usize,
    /// How often a task was polled.
    pub polls: u64,
    /// Timers that are armed.
    pub timers: usize,
}

/// The counters of this core; all zero outside of a runtime.
pub fn metrics() -> Metrics {
    combine(context::try_current().as_deref(), coronet_exec::stats().unwrap_or_default())
}

pub(crate) fn combine(context: Option<&Context>, exec: coronet_exec::Stats) -> Metrics {
    let ring = context.map(|context| context.handle().stats()).unwrap_or_default();
    let receives = |of: fn(&Receives) -> u64| context.map_or(0, |context| of(context.receives()));
    Metrics {
        receives_to_stream: receives(Receives::to_stream),
        receives_to_messages: receives(Receives::to_messages),
        receives_without_pool: receives(Receives::without_pool),
        receives_over_budget: receives(Receives::over_budget),
        receives_ran_dry: receives(Receives::ran_dry),
        submitted: ring.submitted,
        completed: ring.delivered,
        orphaned: ring.orphaned,
        in_flight: ring.in_flight,
        leaked: ring.leaked,
        faulted: ring.faulted,
        enters: ring.enters,
        cq_overflows: ring.cq_overflows,
        zero_copy_sent: ring.zero_copy_sent,
        zero_copy_copied: ring.zero_copy_copied,
        zero_copy_lent: ring.zero_copy_lent,
        zero_copy_lent_us: ring.zero_copy_lent_us,
        zero_copy_lent_us_max: ring.zero_copy_lent_us_max,
        leased: ring.leased,
        pool_bytes: ring.pool_bytes,
        pool_grown: ring.pool_grown,
        pool_shrunk: ring.pool_shrunk,
        // One is the stand-in of `block_on`'s future, which nobody spawned.
        tasks: exec.tasks_alive.saturating_sub(1),
        polls: exec.polls,
        timers: exec.timers_alive,
    }
}
