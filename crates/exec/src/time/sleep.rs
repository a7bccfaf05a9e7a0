//! Wait for a time.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use crate::{
    clock::Instant,
    services,
    timer::{TimerKey, Timers},
};

/// Waits for `duration`, from now.
///
/// The clock is read by this call, not when the future is polled: what the task does in between
/// counts. A duration that leads beyond the clock's end waits forever.
///
/// # Cancellation
/// Safe. Dropping it removes the timer, in constant time.
///
/// # Panics
/// When polled outside of an executor.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark, time::sleep};
/// # use std::time::Duration;
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// sleep(Duration::from_millis(1)).await;
/// # });
/// ```
#[inline]
pub fn sleep(duration: Duration) -> Sleep {
    sleep_until(Instant::now() + duration)
}

/// Waits until `deadline`.
///
/// # Cancellation
/// Safe. Dropping it removes the timer, in constant time.
///
/// # Panics
/// When polled outside of an executor.
#[inline]
pub fn sleep_until(deadline: Instant) -> Sleep {
    Sleep { deadline, armed: None, timers: None, is_done: false }
}

/// The future of [`sleep`].
///
/// It belongs to the core that polls it first.
#[must_use = "futures do nothing unless awaited"]
pub struct Sleep {
    deadline: Instant,
    armed: Option<TimerKey>,
    /// The core's timers, once polled. An armed timer is disarmed by the destructor.
    timers: Option<Rc<Timers>>,
    is_done: bool,
}

impl Sleep {
    /// When it ends.
    pub fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Whether it has ended, as of the last poll.
    pub fn is_elapsed(&self) -> bool {
        self.is_done
    }

    /// Changes when it ends, also if it has ended already. Poll it again afterwards: no task is
    /// woken for the new deadline before that.
    pub fn reset(&mut self, deadline: Instant) {
        if let Some(timers) = &self.timers {
            timers.disarm(&mut self.armed);
        }
        self.deadline = deadline;
        self.is_done = false;
    }
}

impl Future for Sleep {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let this = &mut *self;
        if this.is_done {
            return Poll::Ready(());
        }
        let timers = this
            .timers
            .get_or_insert_with(|| services::expect("a timer", |services| services.timers.clone()));
        let poll = timers.poll(&mut this.armed, this.deadline, cx.waker());
        this.is_done = poll.is_ready();
        poll
    }
}

impl Drop for Sleep {
    #[inline]
    fn drop(&mut self) {
        if let Some(timers) = &self.timers {
            timers.disarm(&mut self.armed);
        }
    }
}

impl fmt::Debug for Sleep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sleep")
            .field("deadline", &self.deadline)
            .field("is_elapsed", &self.is_done)
            .finish_non_exhaustive()
    }
}
