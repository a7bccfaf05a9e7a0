//! When requests are due, in an open loop: at a fixed rate, whatever the server does.
//!
//! The latency of a request counts from when it was due. A generator that waits for a slow answer and then
//! counts from when it sent the next request would leave out just the requests that had to wait.

/// Equally spaced moments.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Schedule {
    started_at: u64,
    per_second: f64,
    released: u64,
}

impl Schedule {
    /// The first request is due at `started_at`.
    pub(crate) fn new(started_at: u64, per_second: f64) -> Self {
        Self { started_at, per_second, released: 0 }
    }

    /// When the next request is due.
    #[inline]
    pub(crate) fn next_at(&self) -> u64 {
        self.started_at + (self.released as f64 * 1e9 / self.per_second) as u64
    }

    /// The next request if it is due at `now`: which one it is, and since when.
    #[inline]
    pub(crate) fn release(&mut self, now: u64) -> Option<(u64, u64)> {
        let due_at = self.next_at();
        if due_at > now {
            return None;
        }
        self.released += 1;
        Some((self.released - 1, due_at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trap: a server that stalls for a second must not hide the requests of that second.
    #[test]
    fn latency_counts_from_the_schedule_and_a_stall_hides_no_request() {
        let mut schedule = Schedule::new(1_000, 1_000.0);
        assert_eq!(schedule.release(999), None);
        assert_eq!(schedule.release(1_000), Some((0, 1_000)));
        assert_eq!(schedule.release(1_000), None);
        // Nothing could be sent for a second: a thousand requests are due, the oldest by all of it.
        let now = 1_000_001_000;
        let mut latencies = Vec::new();
        while let Some((_, due_at)) = schedule.release(now) {
            latencies.push(now - due_at);
        }
        assert_eq!(latencies.len(), 1_000);
        assert_eq!(latencies.first(), Some(&999_000_000));
        assert_eq!(latencies.last(), Some(&0));
    }

    #[test]
    fn rounding_does_not_add_up() {
        let mut schedule = Schedule::new(0, 3.0);
        while schedule.release(1_000_000_000_000).is_some() {}
        assert_eq!(schedule.next_at(), 1_000_333_333_333);
    }
}
