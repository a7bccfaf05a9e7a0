//! A time that comes again and again.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use super::sleep::{Sleep, sleep_until};
use crate::clock::Instant;

/// What an [`Interval`] does when ticks were missed because nobody awaited it in time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MissedTickBehavior {
    /// Gives the missed ticks at once, one after the other, until it has caught up.
    #[default]
    Burst,
    /// Gives one tick, and counts on from there.
    Delay,
    /// Gives one tick, leaves out the others, and keeps to the old beat.
    Skip,
}

/// Ticks now, and then every `period`.
///
/// # Panics
/// If `period` is zero.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark, time::interval};
/// # use std::time::Duration;
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// let mut beat = interval(Duration::from_millis(1));
/// let first = beat.tick().await;
/// assert_eq!(beat.tick().await - first, Duration::from_millis(1));
/// # });
/// ```
#[track_caller]
pub fn interval(period: Duration) -> Interval {
    interval_at(Instant::now(), period)
}

/// Ticks at `start`, and then every `period`.
///
/// # Panics
/// If `period` is zero.
#[track_caller]
pub fn interval_at(start: Instant, period: Duration) -> Interval {
    assert!(period > Duration::ZERO, "the period of an interval must not be zero");
    Interval { sleep: sleep_until(start), period, missed: MissedTickBehavior::Burst }
}

/// A time that comes again and again.
pub struct Interval {
    sleep: Sleep,
    period: Duration,
    missed: MissedTickBehavior,
}

impl Interval {
    /// Waits for the next tick; the time for which it was planned.
    ///
    /// # Cancellation
    /// Safe. The tick stays.
    ///
    /// # Panics
    /// When polled outside of an executor.
    pub async fn tick(&mut self) -> Instant {
        poll_fn(|cx| self.poll_tick(cx)).await
    }

    /// Polls for the next tick.
    pub fn poll_tick(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        ready!(Pin::new(&mut self.sleep).poll(cx));
        let planned = self.sleep.deadline();
        let now = Instant::now();
        let next = planned + self.period;
        let next = if next > now {
            next
        } else {
            match self.missed {
                MissedTickBehavior::Burst => next,
                MissedTickBehavior::Delay => now + self.period,
                MissedTickBehavior::Skip => {
                    let period = u64::try_from(self.period.as_nanos()).unwrap_or(u64::MAX);
                    let past = (now.as_nanos() - planned.as_nanos()) % period;
                    now + Duration::from_nanos(period - past)
                }
            }
        };
        self.sleep.reset(next);
        Poll::Ready(planned)
    }

    /// Starts anew: the next tick comes one period from now.
    pub fn reset(&mut self) {
        self.sleep.reset(Instant::now() + self.period);
    }

    /// The time between ticks.
    pub fn period(&self) -> Duration {
        self.period
    }

    /// What happens to missed ticks.
    pub fn missed_tick_behavior(&self) -> MissedTickBehavior {
        self.missed
    }

    /// Changes what happens to missed ticks.
    pub fn set_missed_tick_behavior(&mut self, behavior: MissedTickBehavior) {
        self.missed = behavior;
    }
}

impl fmt::Debug for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Interval")
            .field("period", &self.period)
            .field("next", &self.sleep.deadline())
            .finish_non_exhaustive()
    }
}
