//! Counters of one core: what it has done, and what lives on it now.
//!
//! They are plain cells next to the data they count, read when somebody asks.

/// A snapshot of one core's counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Stats {
    /// Tasks that were spawned and have not finished.
    pub tasks_alive: usize,
    /// Tasks spawned since the core started.
    pub tasks_spawned: u64,
    /// How often a task was polled.
    pub polls: u64,
    /// Wakes on the core itself that made a task runnable.
    pub wakes_local: u64,
    /// Wakes from other threads that made a task runnable.
    pub wakes_remote: u64,
    /// How often the core went to sleep in its park.
    pub parks: u64,
    /// How often it looked for events without sleeping.
    pub looks: u64,
    /// Timers that are armed.
    pub timers_alive: usize,
}
