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

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::{Context, Wake};

    use super::*;

    #[derive(Default)]
    struct Count(AtomicUsize);

    impl Wake for Count {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn who_finds_no_room_waits_is_counted_once_and_is_woken_by_who_leaves() {
        let limit = Limit::new(1, Counter::default());
        let wakes = Arc::new(Count::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let Poll::Ready(first) = pin!(limit.enter()).poll(&mut cx) else { panic!("there is room") };
        let mut second = pin!(limit.enter());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        let squeezed = limit.squeeze_in();
        drop(first);
        assert_eq!((limit.paused.get(), wakes.0.load(Ordering::Relaxed)), (1, 0), "there is one too many");
        drop(squeezed);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(second.as_mut().poll(&mut cx).is_ready());
    }

    #[test]
    fn a_higher_bound_wakes_who_waits() {
        let limit = Limit::new(1, Counter::default());
        let wakes = Arc::new(Count::default());
        let waker = Waker::from(wakes.clone());
        let mut cx = Context::from_waker(&waker);
        let _first = limit.squeeze_in();
        let mut second = pin!(limit.enter());
        assert!(second.as_mut().poll(&mut cx).is_pending());
        limit.set_max(2);
        assert_eq!(wakes.0.load(Ordering::Relaxed), 1);
        assert!(second.as_mut().poll(&mut cx).is_ready());
    }
}
