//! A meeting point for a fixed number of tasks.

use std::{
    cell::Cell,
    fmt,
    pin::Pin,
    task::{Context, Poll, ready},
};

use super::notify::{Notified, Notify};

/// Lets tasks go on once `n` of them have come; then starts anew.
pub struct Barrier {
    size: usize,
    arrived: Cell<usize>,
    notify: Notify,
}

impl Barrier {
    /// A barrier for `n` tasks; zero counts as one.
    pub fn new(n: usize) -> Barrier {
        Barrier { size: n.max(1), arrived: Cell::new(0), notify: Notify::new() }
    }

    /// Waits until `n` tasks have called this.
    ///
    /// The call counts when it is made, not when it is polled.
    ///
    /// # Cancellation
    /// A dropped call stays counted: somebody did arrive. The others do not wait for a
    /// replacement.
    pub fn wait(&self) -> BarrierWait<'_> {
        let notified = self.notify.notified();
        let arrived = self.arrived.get() + 1;
        let is_leader = arrived == self.size;
        if is_leader {
            self.arrived.set(0);
            self.notify.notify_waiters();
        } else {
            self.arrived.set(arrived);
        }
        BarrierWait { is_leader, notified }
    }
}

impl fmt::Debug for Barrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Barrier")
            .field("size", &self.size)
            .field("arrived", &self.arrived.get())
            .finish_non_exhaustive()
    }
}

/// What [`Barrier::wait`] gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BarrierWaitResult {
    is_leader: bool,
}

impl BarrierWaitResult {
    /// Whether this call was the last to come; true for one of each round.
    pub fn is_leader(&self) -> bool {
        self.is_leader
    }
}

/// The future of [`Barrier::wait`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct BarrierWait<'a> {
    is_leader: bool,
    notified: Notified<'a>,
}

impl Future for BarrierWait<'_> {
    type Output = BarrierWaitResult;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<BarrierWaitResult> {
        ready!(Pin::new(&mut self.notified).poll(cx));
        Poll::Ready(BarrierWaitResult { is_leader: self.is_leader })
    }
}
