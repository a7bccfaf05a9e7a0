//! One value from one thread to another.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use crate::{
    primitives::{Mutex, lock},
    sync::{
        cross::block_thread,
        error::{RecvError, TryRecvError},
    },
};

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    /// Both ends are there.
    is_open: bool,
}

/// Sends the value, from any thread.
pub struct Sender<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

/// Receives the value: a future, for any core or runtime.
///
/// # Cancellation
/// Safe when awaited by reference: the value stays. Dropping the receiver drops the value.
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T> {
    slot: Arc<Mutex<Slot<T>>>,
}

/// A channel for one value.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Arc::new(Mutex::new(Slot { value: None, waker: None, is_open: true }));
    (Sender { slot: slot.clone() }, Receiver { slot })
}

impl<T> Sender<T> {
    /// Sends the value.
    ///
    /// # Errors
    /// The value, if the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut slot = lock(&self.slot);
        if !slot.is_open {
            drop(slot);
            return Err(value);
        }
        slot.value = Some(value);
        // The destructor of `self` wakes the receiver.
        Ok(())
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        !lock(&self.slot).is_open
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = lock(&self.slot);
            slot.is_open = false;
            slot.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Receiver<T> {
    /// Takes the value if it is there.
    ///
    /// # Errors
    /// If it is not, or if the sender was dropped without sending.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let mut slot = lock(&self.slot);
        match slot.value.take() {
            Some(value) => Ok(value),
            None if slot.is_open => Err(TryRecvError::Empty),
            None => Err(TryRecvError::Closed),
        }
    }

    /// Blocks the thread until the value comes.
    ///
    /// # Panics
    /// On a thread that runs an executor.
    ///
    /// # Errors
    /// If the sender was dropped without sending.
    #[track_caller]
    pub fn blocking_recv(self) -> Result<T, RecvError> {
        block_thread(self)
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        // Cloned before the lock, and the old one dropped after it: both may run foreign code.
        let waker = cx.waker().clone();
        let mut slot = lock(&self.slot);
        if let Some(value) = slot.value.take() {
            return Poll::Ready(Ok(value));
        }
        if !slot.is_open {
            return Poll::Ready(Err(RecvError));
        }
        let old = slot.waker.replace(waker);
        drop(slot);
        drop(old);
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = {
            let mut slot = lock(&self.slot);
            slot.is_open = false;
            (slot.value.take(), slot.waker.take())
        };
        drop(left);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("cross::oneshot::Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("cross::oneshot::Receiver").finish_non_exhaustive()
    }
}
