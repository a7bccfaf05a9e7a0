//! What time it is: the kernel's clock, or one that a test or a simulator drives.
//!
//! A [`Clock`] is read by the timers of one core. A virtual clock stands still until
//! somebody moves it; `VirtualPark` and a simulator move it when nothing can run. This file
//! does not decide when that is.

use std::{
    fmt,
    ops::{Add, AddAssign, Sub, SubAssign},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

/// Where a core's time comes from.
#[derive(Clone, Debug, Default)]
pub enum Clock {
    /// The kernel's monotonic clock.
    #[default]
    Real,
    /// A clock that stands still until it is moved.
    Virtual(VirtualClock),
}

impl Clock {
    /// The time now.
    #[inline]
    pub fn now(&self) -> Instant {
        match self {
            Clock::Real => Instant::now_real(),
            Clock::Virtual(clock) => clock.now(),
        }
    }

    /// Whether this clock is driven by hand.
    pub fn is_virtual(&self) -> bool {
        matches!(self, Clock::Virtual(_))
    }
}

/// A clock that moves only when told to. Clones show the same time.
#[derive(Clone, Debug)]
pub struct VirtualClock {
    ns: Arc<AtomicU64>,
}

impl VirtualClock {
    /// A clock that shows `Instant::EPOCH` plus one second.
    ///
    /// Not the epoch itself, so that programs may look a little way back.
    pub fn new() -> VirtualClock {
        VirtualClock { ns: Arc::new(AtomicU64::new(1_000_000_000)) }
    }

    /// The time it shows.
    pub fn now(&self) -> Instant {
        Instant { ns: self.ns.load(Ordering::Relaxed) }
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        self.ns.fetch_add(saturating_ns(by), Ordering::Relaxed);
    }

    /// Moves the clock forward to `to`; an earlier time changes nothing.
    pub fn advance_to(&self, to: Instant) {
        self.ns.fetch_max(to.ns, Ordering::Relaxed);
    }
}

impl Default for VirtualClock {
    fn default() -> VirtualClock {
        VirtualClock::new()
    }
}

/// A point in time on the clock of a core, in nanoseconds.
///
/// `Instant::now()` (in the `time` module's words) reads the clock of the current core, or the
/// kernel's monotonic clock outside of one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    ns: u64,
}

impl Instant {
    /// The zero of the clock; no time is earlier.
    pub const EPOCH: Instant = Instant { ns: 0 };

    /// A time that no clock reaches: 584 years after the epoch.
    pub const FAR_FUTURE: Instant = Instant { ns: u64::MAX };

    /// The kernel's monotonic clock, whatever the core's clock is.
    #[inline]
    pub fn now_real() -> Instant {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        Instant { ns: time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64 }
    }

    /// The time `ns` nanoseconds after the epoch.
    pub const fn from_nanos(ns: u64) -> Instant {
        Instant { ns }
    }

    /// Nanoseconds since the epoch.
    pub const fn as_nanos(self) -> u64 {
        self.ns
    }

    /// The time from `earlier` to `self`; zero if `earlier` is later.
    pub fn duration_since(self, earlier: Instant) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }

    /// The time from `earlier` to `self`; `None` if `earlier` is later.
    pub fn checked_duration_since(self, earlier: Instant) -> Option<Duration> {
        self.ns.checked_sub(earlier.ns).map(Duration::from_nanos)
    }

    /// `self + by`, or [`Instant::FAR_FUTURE`] if that does not fit.
    #[must_use]
    pub fn saturating_add(self, by: Duration) -> Instant {
        Instant { ns: self.ns.saturating_add(saturating_ns(by)) }
    }

    /// `self + by`, or `None` if that does not fit.
    pub fn checked_add(self, by: Duration) -> Option<Instant> {
        let by = u64::try_from(by.as_nanos()).ok()?;
        self.ns.checked_add(by).map(|ns| Instant { ns })
    }

    /// `self - by`, or `None` if that lies before the epoch.
    pub fn checked_sub(self, by: Duration) -> Option<Instant> {
        let by = u64::try_from(by.as_nanos()).ok()?;
        self.ns.checked_sub(by).map(|ns| Instant { ns })
    }
}

impl fmt::Debug for Instant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Instant({:?})", Duration::from_nanos(self.ns))
    }
}

/// Saturates at [`Instant::FAR_FUTURE`]: "never" is a time, not a panic.
impl Add<Duration> for Instant {
    type Output = Instant;

    fn add(self, by: Duration) -> Instant {
        self.saturating_add(by)
    }
}

impl AddAssign<Duration> for Instant {
    fn add_assign(&mut self, by: Duration) {
        *self = *self + by;
    }
}

/// Saturates at the epoch.
impl Sub<Duration> for Instant {
    type Output = Instant;

    fn sub(self, by: Duration) -> Instant {
        Instant { ns: self.ns.saturating_sub(saturating_ns(by)) }
    }
}

impl SubAssign<Duration> for Instant {
    fn sub_assign(&mut self, by: Duration) {
        *self = *self - by;
    }
}

/// Zero if the right side is later.
impl Sub<Instant> for Instant {
    type Output = Duration;

    fn sub(self, earlier: Instant) -> Duration {
        self.duration_since(earlier)
    }
}

fn saturating_ns(by: Duration) -> u64 {
    u64::try_from(by.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn adding_forever_saturates_instead_of_panicking() {
        assert_eq!(Instant::now_real() + Duration::MAX, Instant::FAR_FUTURE);
    }

    #[test]
    fn a_virtual_clock_never_goes_back() {
        let clock = VirtualClock::new();
        let start = clock.now();
        clock.advance_to(start + Duration::from_secs(3));
        clock.advance_to(start + Duration::from_secs(1));
        assert_eq!(clock.now() - start, Duration::from_secs(3));
    }
}
