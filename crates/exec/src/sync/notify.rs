//! A wake-up call without data.

use std::{
    cell::{Cell, RefCell},
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

use super::waiters::Waiters;

/// Wakes one waiting task, or all of them.
///
/// `notify_one` with nobody waiting is kept, once, for the next to come. So "check the
/// condition, then wait" loses no call.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark, spawn, sync::Notify};
/// # use std::rc::Rc;
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// let notify = Rc::new(Notify::new());
/// let waiting = spawn({
///     let notify = notify.clone();
///     async move { notify.notified().await }
/// });
/// notify.notify_one();
/// waiting.await.unwrap();
/// # });
/// ```
pub struct Notify {
    /// A call that nobody has heard.
    is_pending: Cell<bool>,
    /// How often all were called.
    calls_to_all: Cell<u64>,
    waiters: RefCell<Waiters<Call>>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    None,
    One,
    All,
}

impl Notify {
    /// Nobody waits, and no call is pending.
    pub fn new() -> Notify {
        Notify {
            is_pending: Cell::new(false),
            calls_to_all: Cell::new(0),
            waiters: RefCell::new(Waiters::new()),
        }
    }

    /// Wakes the task that waits longest, or the next one to wait.
    pub fn notify_one(&self) {
        let waker = {
            let mut waiters = self.waiters.borrow_mut();
            match waiters.first_key() {
                Some(key) => {
                    *waiters.want_mut(key) = Call::One;
                    waiters.grant_first()
                }
                None => {
                    self.is_pending.set(true);
                    None
                }
            }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Wakes all whose [`Notify::notified`] was called before this, polled or not.
    pub fn notify_waiters(&self) {
        self.calls_to_all.set(self.calls_to_all.get() + 1);
        let mut wakers = Vec::new();
        {
            let mut waiters = self.waiters.borrow_mut();
            while let Some(key) = waiters.first_key() {
                *waiters.want_mut(key) = Call::All;
                wakers.extend(waiters.grant_first());
            }
        }
        for waker in wakers {
            waker.wake();
        }
    }

    /// Waits for a call.
    ///
    /// # Cancellation
    /// Safe. A single call that this future had got, and nobody has seen, goes to the next in
    /// line. Its own place in the line is lost.
    pub fn notified(&self) -> Notified<'_> {
        Notified { notify: self, seen: self.calls_to_all.get(), key: None, is_done: false }
    }
}

impl Default for Notify {
    fn default() -> Notify {
        Notify::new()
    }
}

impl fmt::Debug for Notify {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notify").field("is_pending", &self.is_pending.get()).finish_non_exhaustive()
    }
}

/// The future of [`Notify::notified`].
#[must_use = "futures do nothing unless awaited"]
pub struct Notified<'a> {
    notify: &'a Notify,
    seen: u64,
    key: Option<usize>,
    is_done: bool,
}

impl Future for Notified<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let notify = self.notify;
        if self.is_done {
            return Poll::Ready(());
        }
        let Some(key) = self.key else {
            if self.seen != notify.calls_to_all.get() || notify.is_pending.replace(false) {
                self.is_done = true;
                return Poll::Ready(());
            }
            let waker = cx.waker().clone();
            self.key = Some(notify.waiters.borrow_mut().push(Call::None, waker));
            return Poll::Pending;
        };
        if notify.waiters.borrow().is_granted(key) {
            self.key = None;
            self.is_done = true;
            notify.waiters.borrow_mut().remove(key);
            return Poll::Ready(());
        }
        if !notify.waiters.borrow().will_wake(key, cx.waker()) {
            let waker = cx.waker().clone();
            let old = notify.waiters.borrow_mut().replace_waker(key, waker);
            drop(old);
        }
        Poll::Pending
    }
}

impl Drop for Notified<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let (call, waker) = self.notify.waiters.borrow_mut().remove(key);
        drop(waker);
        if call == Call::One {
            self.notify.notify_one();
        }
    }
}

impl fmt::Debug for Notified<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Notified").field("is_done", &self.is_done).finish_non_exhaustive()
    }
}
