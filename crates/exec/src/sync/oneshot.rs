//! One value from one task to another of the same core.

use std::{
    cell::RefCell,
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker},
};

use super::error::{RecvError, TryRecvError};

struct Slot<T> {
    value: Option<T>,
    waker: Option<Waker>,
    /// Both ends are there.
    is_open: bool,
}

/// Sends the value.
pub struct Sender<T> {
    slot: Rc<RefCell<Slot<T>>>,
}

/// Receives the value: a future.
///
/// # Cancellation
/// Safe when awaited by reference: the value stays. Dropping the receiver drops the value.
#[must_use = "futures do nothing unless awaited"]
pub struct Receiver<T> {
    slot: Rc<RefCell<Slot<T>>>,
}

/// A channel for one value.
pub fn channel<T>() -> (Sender<T>, Receiver<T>) {
    let slot = Rc::new(RefCell::new(Slot { value: None, waker: None, is_open: true }));
    (Sender { slot: slot.clone() }, Receiver { slot })
}

impl<T> Sender<T> {
    /// Sends the value.
    ///
    /// # Errors
    /// The value, if the receiver is gone.
    pub fn send(self, value: T) -> Result<(), T> {
        let mut slot = self.slot.borrow_mut();
        if !slot.is_open {
            return Err(value);
        }
        slot.value = Some(value);
        // The destructor of `self` wakes the receiver.
        Ok(())
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        !self.slot.borrow().is_open
    }
}

impl<T> Drop for Sender<T> {
    fn drop(&mut self) {
        let waker = {
            let mut slot = self.slot.borrow_mut();
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
        let mut slot = self.slot.borrow_mut();
        match slot.value.take() {
            Some(value) => Ok(value),
            None if slot.is_open => Err(TryRecvError::Empty),
            None => Err(TryRecvError::Closed),
        }
    }
}

impl<T> Future for Receiver<T> {
    type Output = Result<T, RecvError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match self.try_recv() {
            Ok(value) => return Poll::Ready(Ok(value)),
            Err(TryRecvError::Closed) => return Poll::Ready(Err(RecvError)),
            Err(TryRecvError::Empty) => {}
        }
        let waker = cx.waker().clone();
        let old = self.slot.borrow_mut().waker.replace(waker);
        drop(old);
        Poll::Pending
    }
}

impl<T> Drop for Receiver<T> {
    fn drop(&mut self) {
        let left = {
            let mut slot = self.slot.borrow_mut();
            slot.is_open = false;
            (slot.value.take(), slot.waker.take())
        };
        drop(left);
    }
}

impl<T> fmt::Debug for Sender<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("oneshot::Sender").finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for Receiver<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("oneshot::Receiver").finish_non_exhaustive()
    }
}
