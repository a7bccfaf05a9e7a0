//! How unkind the kernel is: a chance for each liberty that Linux has, in parts of 1024.
//!
//! Some liberties are always taken, because a correct program does not notice them. Those that
//! a user of a socket notices (resets, aborted connections, no memory) have to be asked for.

use std::time::Duration;

use crate::tape::Tape;

/// What may happen, and how often. Each chance is in parts of 1024.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Faults {
    /// A count is shorter than it could be, down to one byte.
    pub short_counts: u16,
    /// Work that could be done now is done a little later.
    pub delays: u16,
    /// A completion is posted later than the work was done, behind others.
    pub late_completions: u16,
    /// A wait ends early, with nothing (a signal).
    pub interrupts: u16,
    /// An enter consumes a part of the queue only.
    pub partial_submits: u16,
    /// The submission queue is full before it should be.
    pub full_queues: u16,
    /// A multishot operation ends with a payload, as a full completion queue makes it.
    pub multishot_ends: u16,
    /// A receive finds no buffer although there are some.
    pub no_buffers: u16,
    /// A cancelled operation goes on for a little, and may succeed.
    pub lost_cancels: u16,
    /// `accept` finds no free descriptor.
    pub no_descriptors: u16,
    /// The notification of a zero-copy send comes late, behind those of others.
    pub late_notifications: u16,
    /// All zero-copy sends of a connection are copied; a sixteenth of it is the chance that a single one is.
    pub copied_sends: u16,
    /// A zero-copy send finds no memory that could be locked (`ENOMEM`).
    pub no_pinning: u16,
    /// An operation fails for want of memory. Not by default: a user notices.
    pub no_memory: u16,
    /// A connection breaks before it is accepted. Not by default: a user notices.
    pub aborted_connections: u16,
    /// A connection that carries bytes is reset. Not by default: a user notices.
    pub resets: u16,
    /// A read or write of a file fails (`EIO`). Not by default: a user notices.
    pub disk_errors: u16,
}

impl Default for Faults {
    fn default() -> Self {
        Self {
            short_counts: 256,
            delays: 128,
            late_completions: 128,
            interrupts: 32,
            partial_submits: 64,
            full_queues: 32,
            multishot_ends: 64,
            no_buffers: 32,
            lost_cancels: 256,
            no_descriptors: 16,
            late_notifications: 640,
            copied_sends: 384,
            no_pinning: 64,
            no_memory: 0,
            aborted_connections: 0,
            resets: 0,
            disk_errors: 0,
        }
    }
}

impl Faults {
    /// A kernel as kind as a kernel can be.
    pub fn none() -> Self {
        Self {
            short_counts: 0,
            delays: 0,
            late_completions: 0,
            interrupts: 0,
            partial_submits: 0,
            full_queues: 0,
            multishot_ends: 0,
            no_buffers: 0,
            lost_cancels: 0,
            no_descriptors: 0,
            late_notifications: 0,
            copied_sends: 0,
            no_pinning: 0,
            no_memory: 0,
            aborted_connections: 0,
            resets: 0,
            disk_errors: 0,
        }
    }

    /// The faults of one run: each as often as said, four times as often, or never. Runs that
    /// differ in kind find more than runs that are all alike.
    pub(crate) fn vary(&self, tape: &mut Tape) -> Self {
        let mut vary = |parts: u16| match tape.below(3) {
            _ if parts == 0 => 0,
            0 => parts,
            1 => 0,
            _ => (parts * 4).min(768),
        };
        Self {
            short_counts: vary(self.short_counts),
            delays: vary(self.delays),
            late_completions: vary(self.late_completions),
            interrupts: vary(self.interrupts),
            partial_submits: vary(self.partial_submits),
            full_queues: vary(self.full_queues),
            multishot_ends: vary(self.multishot_ends),
            no_buffers: vary(self.no_buffers),
            lost_cancels: vary(self.lost_cancels),
            no_descriptors: vary(self.no_descriptors),
            // As often as said: they came later, and older seeds are to mean what they meant.
            late_notifications: self.late_notifications,
            copied_sends: self.copied_sends,
            no_pinning: self.no_pinning,
            no_memory: vary(self.no_memory),
            aborted_connections: vary(self.aborted_connections),
            resets: vary(self.resets),
            disk_errors: vary(self.disk_errors),
        }
    }
}

/// What the network and the machine are like.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Settings {
    /// How long a segment takes from host to host: the least and the most.
    pub latency: (Duration, Duration),
    /// Bytes that a socket takes from its program before the peer has them: least and most.
    pub send_buffer: (usize, usize),
    /// Bytes that a socket holds for its program: least and most.
    pub receive_buffer: (usize, usize),
    /// The liberties that the kernel takes.
    pub faults: Faults,
    /// A run that is not over after so much simulated time has failed.
    pub time_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            latency: (Duration::from_micros(100), Duration::from_millis(2)),
            // The least is Linux's own (`SOCK_MIN_SNDBUF`, `SOCK_MIN_RCVBUF`): with less, programs that are
            // right would wait for ever.
            send_buffer: (4608, 256 * 1024),
            receive_buffer: (2304, 256 * 1024),
            faults: Faults::default(),
            time_max: Duration::from_secs(24 * 3600),
        }
    }
}
