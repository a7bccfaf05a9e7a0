//! Timeouts in user space, and the one timer of the kernel that wakes us for the earliest.
//!
//! The timer is a descriptor that the poller watches, so a foreign event loop is woken too.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};

use crate::token::Token;

/// When a timeout is due, and its number among those of one instant.
pub(super) type Due = (Instant, u64);

pub(super) struct Timers {
    fd: OwnedFd,
    due: BTreeMap<Due, Token>,
    /// What the kernel's timer is set to.
    set: Option<Instant>,
    numbers: u64,
}

impl Timers {
    pub(super) fn new() -> io::Result<Self> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let fd = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        Ok(Self { fd, due: BTreeMap::new(), set: None, numbers: 0 })
    }

    /// Files a timeout. `None` if it is so far away that it never comes.
    pub(super) fn start(&mut self, token: Token, after: Duration) -> Option<Due> {
        let at = Instant::now().checked_add(after)?;
        let due = (at, self.numbers);
        self.numbers += 1;
        self.due.insert(due, token);
        if self.set.is_none_or(|set| at < set) {
            self.set(at, after);
        }
        Some(due)
    }

    pub(super) fn cancel(&mut self, due: Due) {
        // The timer may fire for nobody: one wake-up in vain is cheaper than setting it twice.
        self.due.remove(&due);
    }

    /// Calls `each` with those that are due, earliest first, and sets the timer for the next.
    pub(super) fn fire(&mut self, mut each: impl FnMut(Token)) {
        let now = Instant::now();
        self.set = None;
        while let Some(first) = self.due.first_entry() {
            let at = first.key().0;
            if at > now {
                self.set(at, at - now);
                return;
            }
            each(first.remove());
        }
    }

    fn set(&mut self, at: Instant, after: Duration) {
        let zero = Timespec { tv_sec: 0, tv_nsec: 0 };
        // Zero would turn the timer off.
        let after = after.max(Duration::from_nanos(1));
        let value = Timespec {
            tv_sec: i64::try_from(after.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: after.subsec_nanos().into(),
        };
        let set = timerfd_settime(
            &self.fd,
            TimerfdTimerFlags::empty(),
            &Itimerspec { it_interval: zero, it_value: value },
        );
        debug_assert!(set.is_ok(), "{set:?}");
        self.set = Some(at);
    }
}

impl AsFd for Timers {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
