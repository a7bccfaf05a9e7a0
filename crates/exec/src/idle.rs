//! What a core does while nothing can run: sleep at once, or look on for a while.
//!
//! Falling asleep and waking up again costs 13 to 32 us on a virtual machine: with one client that asks, waits
//! and asks again, that is most of the time between two of its requests. A core that looks on instead is
//! there when the next event comes, and burns its CPU meanwhile. [`next`] is the one place that decides.

use std::{
    fs::File,
    os::unix::fs::FileExt,
    str::FromStr,
    time::{Duration, Instant},
};

/// What a core does while nothing can run.
///
/// Written as text: `sleep`, `adaptive`, or `spin:` and microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Idle {
    /// Sleeps at once. An idle core costs nothing, and the CPU is free for others.
    #[default]
    Sleep,
    /// Looks on for 50 us before it sleeps, but only while that pays: events came within that time lately,
    /// and nobody else wanted the CPU. A core without events sleeps.
    Adaptive,
    /// Always looks on for so long before it sleeps.
    Spin(Duration),
}

impl FromStr for Idle {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match (text, text.strip_prefix("spin:").map(str::parse)) {
            ("sleep", _) => Ok(Self::Sleep),
            ("adaptive", _) => Ok(Self::Adaptive),
            (_, Some(Ok(microseconds))) => Ok(Self::Spin(Duration::from_micros(microseconds))),
            _ => Err(format!(
                "no idle strategy is called {text:?}: use \"sleep\", \"adaptive\", or \"spin:\" and microseconds"
            )),
        }
    }
}

/// How long `Adaptive` looks on: about what a sleep and the wake-up after it cost, so that looking on in vain
/// at most doubles the price of sleeping.
const WINDOW: Duration = Duration::from_micros(50);
/// An event that ended a sleep came within the window if the sleep took no longer than this: the rest is the
/// wake-up itself.
const SLEEP_THAT_WAS_SHORT: Duration = Duration::from_micros(100);
/// Hits in a row after which a core begins to look on; misses weigh double.
const CREDIT_MAX: u8 = 8;
/// Waits that a core sleeps through after others wanted its CPU, before it may try again.
const REST: u16 = 1_000;
/// Looks at the scheduler's account of the thread: once in so many waits.
const LOOK_INTERVAL: u16 = 64;

/// What became of one wait for events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    /// Something came within the window.
    Hit,
    /// Nothing did.
    Miss,
    /// Others waited for this CPU while the core was looking on.
    Crowded,
}

/// What `Adaptive` knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mood {
    /// Sleeps; so much speaks for looking on.
    Sleeping { credit: u8 },
    /// Looks on; so much still speaks for it.
    Spinning { credit: u8 },
    /// Sleeps for so many waits, whatever comes.
    Resting { left: u16 },
}

/// How a core waits next, after the last wait ended so.
fn next(mood: Mood, waited: Waited) -> Mood {
    match (mood, waited) {
        (Mood::Sleeping { .. } | Mood::Spinning { .. }, Waited::Crowded) => Mood::Resting { left: REST },
        (Mood::Sleeping { credit }, Waited::Hit) if credit + 1 == CREDIT_MAX => {
            Mood::Spinning { credit: CREDIT_MAX }
        }
        (Mood::Sleeping { credit }, Waited::Hit) => Mood::Sleeping { credit: credit + 1 },
        (Mood::Sleeping { credit }, Waited::Miss) => Mood::Sleeping { credit: credit.saturating_sub(2) },
        (Mood::Spinning { credit }, Waited::Hit) => Mood::Spinning { credit: CREDIT_MAX.min(credit + 1) },
        (Mood::Spinning { credit: 0..=2 }, Waited::Miss) => Mood::Sleeping { credit: 0 },
        (Mood::Spinning { credit }, Waited::Miss) => Mood::Spinning { credit: credit - 2 },
        (Mood::Resting { left: 0 }, Waited::Hit | Waited::Miss | Waited::Crowded) => {
            Mood::Sleeping { credit: 0 }
        }
        (Mood::Resting { left }, Waited::Hit | Waited::Miss | Waited::Crowded) => {
            Mood::Resting { left: left - 1 }
        }
    }
}

/// The strategy of one core, and what it has seen.
pub(crate) struct Waiting {
    idle: Idle,
    mood: Mood,
    /// When the current wait began, if the strategy wants to know.
    began: Option<Instant>,
    waits: u16,
    crowd: Option<Crowd>,
}

impl Waiting {
    pub(crate) fn new(idle: Idle) -> Self {
        Self { idle, mood: Mood::Sleeping { credit: 0 }, began: None, waits: 0, crowd: None }
    }

    /// Begins a wait: how long to look on before sleeping.
    #[inline]
    pub(crate) fn begin(&mut self) -> Option<(Instant, Duration)> {
        let window = match (self.idle, self.mood) {
            (Idle::Sleep, _) => return None,
            (Idle::Spin(window), _) => window,
            (Idle::Adaptive, Mood::Spinning { .. }) => WINDOW,
            (Idle::Adaptive, Mood::Sleeping { .. } | Mood::Resting { .. }) => Duration::ZERO,
        };
        let now = Instant::now();
        self.began = Some(now);
        (!window.is_zero()).then_some((now, window))
    }

    /// The wait is over: something came, or a deadline.
    #[inline]
    pub(crate) fn end(&mut self, slept: bool) {
        let Some(began) = self.began.take() else { return };
        if self.idle != Idle::Adaptive {
            return;
        }
        self.waits = self.waits.wrapping_add(1);
        let is_spinning = matches!(self.mood, Mood::Spinning { .. });
        let waited = if is_spinning && self.waits.is_multiple_of(LOOK_INTERVAL) && self.is_crowded() {
            Waited::Crowded
        } else if slept && (is_spinning || began.elapsed() > SLEEP_THAT_WAS_SHORT) {
            Waited::Miss
        } else {
            Waited::Hit
        };
        self.mood = next(self.mood, waited);
    }

    #[cold]
    fn is_crowded(&mut self) -> bool {
        self.crowd.get_or_insert_with(Crowd::of_this_thread).has_grown()
    }
}

/// How long this thread has waited for its CPU because others had it.
struct Crowd {
    /// `/proc/thread-self/schedstat`: nanoseconds on the CPU, nanoseconds waiting for it, slices. See
    /// `Documentation/scheduler/sched-stats.rst`. `None` if this kernel does not tell: then nobody is waited for.
    account: Option<File>,
    waited_ns: u64,
    at: Instant,
}

/// Waiting for the CPU a quarter of the time is more than chance.
const CROWDED_SHARE: f64 = 0.25;

impl Crowd {
    fn of_this_thread() -> Self {
        let account = File::open("/proc/thread-self/schedstat").ok();
        let mut this = Self { account, waited_ns: 0, at: Instant::now() };
        this.waited_ns = this.read().unwrap_or(0);
        this
    }

    fn has_grown(&mut self) -> bool {
        let Some(waited_ns) = self.read() else { return false };
        let waited = waited_ns.saturating_sub(std::mem::replace(&mut self.waited_ns, waited_ns));
        let elapsed = std::mem::replace(&mut self.at, Instant::now()).elapsed();
        waited as f64 > elapsed.as_nanos() as f64 * CROWDED_SHARE
    }

    fn read(&self) -> Option<u64> {
        let mut text = [0; 96];
        let count = self.account.as_ref()?.read_at(&mut text, 0).ok()?;
        let text = std::str::from_utf8(&text[..count]).ok()?;
        text.split_ascii_whitespace().nth(1)?.parse().ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(mood: Mood, waits: impl IntoIterator<Item = Waited>) -> Mood {
        waits.into_iter().fold(mood, next)
    }

    const FRESH: Mood = Mood::Sleeping { credit: 0 };

    #[test]
    fn a_core_begins_to_look_on_when_events_keep_coming_soon() {
        assert_eq!(after(FRESH, [Waited::Hit; 7]), Mood::Sleeping { credit: 7 });
        assert_eq!(after(FRESH, [Waited::Hit; 8]), Mood::Spinning { credit: CREDIT_MAX });
    }

    #[test]
    fn events_that_come_late_as_often_as_soon_never_make_it_look_on() {
        let alternating = [Waited::Hit, Waited::Miss].into_iter().cycle().take(1000);
        assert!(matches!(after(FRESH, alternating), Mood::Sleeping { .. }));
    }

    #[test]
    fn it_gives_up_after_a_few_waits_in_vain_and_forgives_one() {
        let spinning = Mood::Spinning { credit: CREDIT_MAX };
        assert_eq!(after(spinning, [Waited::Miss, Waited::Hit, Waited::Hit]), spinning);
        assert_eq!(after(spinning, [Waited::Miss; 4]), FRESH);
    }

    #[test]
    fn it_makes_room_for_those_who_wait_for_its_cpu_and_tries_again_later() {
        let crowded = after(Mood::Spinning { credit: CREDIT_MAX }, [Waited::Crowded]);
        assert_eq!(crowded, Mood::Resting { left: REST });
        let rested = after(crowded, std::iter::repeat_n(Waited::Hit, usize::from(REST)));
        assert_eq!(rested, Mood::Resting { left: 0 });
        assert_eq!(after(rested, [Waited::Hit]), FRESH);
    }

    #[test]
    fn an_idle_strategy_is_read_from_text() {
        assert_eq!("adaptive".parse(), Ok(Idle::Adaptive));
        assert_eq!("spin:20".parse(), Ok(Idle::Spin(Duration::from_micros(20))));
        assert!("spin".parse::<Idle>().unwrap_err().contains("\"sleep\""));
    }

    #[test]
    fn sleeping_at_once_never_looks_on_and_spinning_always_does() {
        let mut sleeping = Waiting::new(Idle::Sleep);
        assert!(sleeping.begin().is_none());
        let mut spinning = Waiting::new(Idle::Spin(Duration::from_micros(5)));
        for _ in 0..3 {
            assert_eq!(spinning.begin().map(|(_, window)| window), Some(Duration::from_micros(5)));
            spinning.end(true);
        }
    }
}
