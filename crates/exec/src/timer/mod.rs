//! The timers of one core: a wheel, and the clock that turns it.
//!
//! The futures on top of it are in `time/`. Timers never fire early; how late they may be is
//! said at [`GRANULARITY_SHIFT`].

mod wheel;

use std::{
    cell::{Cell, RefCell},
    task::{Poll, Waker},
};

use self::wheel::{Key, Wheel};
use crate::clock::{Clock, Instant};

/// Real time is divided into steps of 2^17 ns (131 us): a timer fires at the end of the step
/// that holds its deadline. Finer steps would wake an idle core more often for timers
/// that are close to each other; coarser ones would make short sleeps long.
const GRANULARITY_SHIFT: u32 = 17;

/// The timers of one core.
pub(crate) struct Timers {
    clock: Clock,
    /// The clock when it was last read here; never later than the clock.
    seen: Cell<Instant>,
    wheel: RefCell<Wheel>,
    /// Kept for its memory.
    fired: RefCell<Vec<Waker>>,
}

impl Timers {
    pub(crate) fn new(clock: Clock) -> Timers {
        // Virtual time is exact, to the nanosecond: tests compare it.
        let shift = if clock.is_virtual() { 0 } else { GRANULARITY_SHIFT };
        let now = clock.now();
        Timers {
            clock,
            seen: Cell::new(now),
            wheel: RefCell::new(Wheel::new(now, shift)),
            fired: RefCell::new(Vec::new()),
        }
    }

    pub(crate) fn clock(&self) -> &Clock {
        &self.clock
    }

    /// Reads the clock.
    #[inline]
    pub(crate) fn now(&self) -> Instant {
        let now = self.clock.now();
        self.seen.set(now);
        now
    }

    /// The clock when it was last read here.
    pub(crate) fn seen(&self) -> Instant {
        self.seen.get()
    }

    /// How many timers are armed.
    pub(crate) fn alive(&self) -> usize {
        self.wheel.borrow().alive()
    }

    /// When the wheel must be turned next.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.wheel.borrow().next()
    }

    /// Reads the clock once and wakes whoever waits for a time that has come.
    pub(crate) fn fire(&self) {
        if self.wheel.borrow().alive() == 0 {
            return;
        }
        let now = self.now();
        // The wheel is let go of before a waker runs: a waker may drop a timer.
        let mut fired = self.fired.take();
        self.wheel.borrow_mut().turn(now, &mut fired);
        for waker in fired.drain(..) {
            waker.wake();
        }
        self.fired.replace(fired);
    }

    /// Polls the timer in `slot`, arming it if it is not.
    ///
    /// An armed timer belongs to `slot`; whoever clears it must [`Timers::disarm`] it.
    #[inline]
    pub(crate) fn poll(&self, slot: &mut Option<Key>, deadline: Instant, waker: &Waker) -> Poll<()> {
        if let Some(key) = *slot {
            if self.wheel.borrow().has_fired(key) {
                *slot = None;
                let entry = self.wheel.borrow_mut().remove(key);
                drop(entry);
                return Poll::Ready(());
            }
            if !self.wheel.borrow().will_wake(key, waker) {
                // Cloned and dropped while the wheel is free: both may run foreign code.
                let waker = waker.clone();
                let old = self.wheel.borrow_mut().replace_waker(key, waker);
                drop(old);
            }
            return Poll::Pending;
        }
        if deadline <= self.seen.get() {
            return Poll::Ready(());
        }
        let waker = waker.clone();
        *slot = Some(self.wheel.borrow_mut().insert(deadline, waker));
        Poll::Pending
    }

    /// Takes the timer in `slot` out of the wheel, if it is armed.
    #[inline]
    pub(crate) fn disarm(&self, slot: &mut Option<Key>) {
        if let Some(key) = slot.take() {
            let waker = self.wheel.borrow_mut().remove(key);
            drop(waker);
        }
    }
}

pub(crate) use self::wheel::Key as TimerKey;
