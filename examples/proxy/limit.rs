//! How many connections there may be at once, over all cores.

use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Poll, Waker};

use prometheus_client::metrics::counter::Counter;

/// The bound, and who waits for room under it.
pub(crate) struct Limit {
    state: Mutex<State>,
    paused: Counter,
}

struct State {
    open: usize,
    max: usize,
    /// At most one for each listener.
    waiting: Vec<Waker>,
}

impl Limit {
    /// `paused` counts those who had to wait.
    pub(crate) fn new(max: usize, paused: Counter) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { open: 0, max, waiting: Vec::new() }), paused })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for room.
    ///
    /// # Cancellation
    /// Safe. Nothing is held.
    pub(crate) async fn enter(self: &Arc<Self>) -> Permit {
        let mut has_waited = false;
        poll_fn(|cx| {
            let mut state = self.state();
            if state.open < state.max {
                state.open += 1;
                return Poll::Ready(());
            }
            if !state.waiting.iter().any(|waker| waker.will_wake(cx.waker())) {
                state.waiting.push(cx.waker().clone());
            }
            if !std::mem::replace(&mut has_waited, true) {
                self.paused.inc();
            }
            Poll::Pending
        })
        .await;
        Permit(self.clone())
    }

    /// Enters without room: for what cannot wait any more.
    pub(crate) fn squeeze_in(self: &Arc<Self>) -> Permit {
        self.state().open += 1;
        Permit(self.clone())
    }

    /// Changes the bound; who is in stays.
    pub(crate) fn set_max(&self, max: usize) {
        self.change(|state| state.max = max);
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let waiting = {
            let mut state = self.state();
            change(&mut state);
            if state.open < state.max { std::mem::take(&mut state.waiting) } else { Vec::new() }
        };
        waiting.into_iter().for_each(Waker::wake);
    }
}

/// One connection's place.
pub(crate) struct Permit(Arc<Limit>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.change(|state| state.open -= 1);
    }
}
