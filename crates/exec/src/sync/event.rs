//! A flag that tasks wait for.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::notify::{Notified, Notify};

/// A flag: `wait` returns while it is set.
#[derive(Default)]
pub struct Event {
    is_set: Cell<bool>,
    notify: Notify,
}

impl Event {
    /// An event that is not set.
    pub fn new() -> Event {
        Event::default()
    }

    /// Sets it, and wakes all who wait.
    pub fn set(&self) {
        if !self.is_set.replace(true) {
            self.notify.notify_waiters();
        }
    }

    /// Clears it: who comes now will wait. Who was woken by `set` goes on all the same.
    pub fn clear(&self) {
        self.is_set.set(false);
    }

    /// Whether it is set.
    pub fn is_set(&self) -> bool {
        self.is_set.get()
    }

    /// Waits until it is set.
    ///
    /// # Cancellation
    /// Safe. Nothing is held.
    pub fn wait(&self) -> EventWait<'_> {
        EventWait { is_set: self.is_set.get(), notified: self.notify.notified() }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Event").field("is_set", &self.is_set.get()).finish_non_exhaustive()
    }
}

/// The future of [`Event::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct EventWait<'a> {
    is_set: bool,
    notified: Notified<'a>,
}

impl Future for EventWait<'_> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if !self.is_set {
            ready!(Pin::new(&mut self.notified).poll(cx));
            self.is_set = true;
        }
        Poll::Ready(())
    }
}
