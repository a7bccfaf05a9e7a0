//! A timer of the ring, for those who have no timer wheel.

use std::io;
use std::time::Duration;

use coronet_ring::request::Timespec;
use coronet_ring::{Done, Op, Request};

/// Completes after a while, on the monotonic clock.
#[derive(Debug)]
pub struct Timeout {
    after: Timespec,
}

impl Timeout {
    /// Nanosecond resolution; longer than 292 years is for ever.
    pub fn new(after: Duration) -> Self {
        Self { after: after.into() }
    }
}

impl Op for Timeout {
    /// `Err` only if it was cancelled.
    type Output = io::Result<()>;

    fn request(&mut self) -> Request<'_> {
        Request::Timeout { after: &self.after }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        // The kernel reports a timer that ran out as an error of that name.
        if done.result == -libc::ETIME { Ok(()) } else { done.value().map(drop) }
    }
}
