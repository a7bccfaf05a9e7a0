//! Wait for a list of futures, all in the caller's task.

use std::{
    fmt,
    pin::Pin,
    task::{Context, Poll},
};

/// One future, then its output, then nothing.
enum Slot<F: Future> {
    Waiting(Pin<Box<F>>),
    Done(F::Output),
    Taken,
}

impl<F: Future> Slot<F> {
    /// Polls a waiting future; true if the slot waits no more.
    fn poll(&mut self, cx: &mut Context<'_>) -> bool {
        if let Slot::Waiting(future) = self {
            match future.as_mut().poll(cx) {
                Poll::Ready(output) => *self = Slot::Done(output),
                Poll::Pending => return false,
            }
        }
        true
    }

    fn take(&mut self) -> Option<F::Output> {
        match std::mem::replace(self, Slot::Taken) {
            Slot::Done(output) => Some(output),
            Slot::Waiting(_) | Slot::Taken => None,
        }
    }
}

fn slots<I>(futures: I) -> Vec<Slot<I::Item>>
where
    I: IntoIterator,
    I::Item: Future,
{
    futures.into_iter().map(|future| Slot::Waiting(Box::pin(future))).collect()
}

/// Waits for all futures; their outputs in the order given, or the first error.
///
/// After the first error the other futures are dropped. They run in the caller's task, and each
/// wake polls all that still wait: made for tens of futures; spawn tasks into a
/// [`JoinSet`](super::JoinSet) for thousands. [`JoinHandle`](crate::JoinHandle)s fit in.
///
/// # Cancellation
/// Dropping it drops all the futures; what that means, they say.
///
/// # Errors
/// The first error that a future gives.
pub fn gather<I, T, E>(futures: I) -> Gather<I::Item>
where
    I: IntoIterator,
    I::Item: Future<Output = Result<T, E>>,
{
    Gather { slots: slots(futures) }
}

/// Waits for all futures, whatever they give; their outputs in the order given.
///
/// No output is looked at, so errors end nothing.
///
/// # Cancellation
/// Dropping it drops all the futures; what that means, they say.
pub fn gather_settled<I>(futures: I) -> GatherSettled<I::Item>
where
    I: IntoIterator,
    I::Item: Future,
{
    GatherSettled { slots: slots(futures) }
}

/// The future of [`gather`].
#[must_use = "futures do nothing unless awaited"]
pub struct Gather<F: Future> {
    slots: Vec<Slot<F>>,
}

/// The futures are boxed and the outputs never pinned.
impl<F: Future> Unpin for Gather<F> {}

impl<F, T, E> Future for Gather<F>
where
    F: Future<Output = Result<T, E>>,
{
    type Output = Result<Vec<T>, E>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut is_ready = true;
        for index in 0..self.slots.len() {
            is_ready &= self.slots[index].poll(cx);
            if let Slot::Done(Err(_)) = &self.slots[index] {
                let error = self.slots[index].take();
                self.slots.clear();
                if let Some(Err(error)) = error {
                    return Poll::Ready(Err(error));
                }
                unreachable!("the slot held an error")
            }
        }
        if !is_ready {
            return Poll::Pending;
        }
        // No slot holds an error, so this collects every output.
        Poll::Ready(self.slots.drain(..).filter_map(|mut slot| slot.take()).collect())
    }
}

impl<F: Future> fmt::Debug for Gather<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gather").field("futures", &self.slots.len()).finish()
    }
}

/// The future of [`gather_settled`].
#[must_use = "futures do nothing unless awaited"]
pub struct GatherSettled<F: Future> {
    slots: Vec<Slot<F>>,
}

/// The futures are boxed and the outputs never pinned.
impl<F: Future> Unpin for GatherSettled<F> {}

impl<F: Future> Future for GatherSettled<F> {
    type Output = Vec<F::Output>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut is_ready = true;
        for slot in &mut self.slots {
            is_ready &= slot.poll(cx);
        }
        if !is_ready {
            return Poll::Pending;
        }
        Poll::Ready(self.slots.drain(..).filter_map(|mut slot| slot.take()).collect())
    }
}

impl<F: Future> fmt::Debug for GatherSettled<F> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GatherSettled").field("futures", &self.slots.len()).finish()
    }
}
