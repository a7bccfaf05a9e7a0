//! Time for tasks: sleep, time limits, intervals.
//!
//! A sleep never ends early. In real time it ends at most 131 microseconds after its
//! deadline plus what the core is busy with; with a virtual clock, exactly at it.

mod interval;
mod sleep;
mod timeout;

pub use self::{
    interval::{Interval, MissedTickBehavior, interval, interval_at},
    sleep::{Sleep, sleep, sleep_until},
    timeout::{Elapsed, Timeout, timeout, timeout_at},
};
pub use crate::clock::Instant;

use crate::{clock::Instant as Time, services};

impl Time {
    /// The time now: by the clock of the current core, or the kernel's outside of one.
    #[inline]
    pub fn now() -> Time {
        services::with(|services| match services {
            Some(services) => services.timers.now(),
            None => Time::now_real(),
        })
    }

    /// The time since `self`; zero if it lies ahead.
    pub fn elapsed(self) -> std::time::Duration {
        Time::now() - self
    }
}
