//! Many values from many tasks to one, all on one core.

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, Waker, ready},
};

use futures_core::Stream;

use super::{
    error::{SendError, TryAcquireError, TryRecvError, TrySendError},
    semaphore::Semaphore,
};
use crate::budget;

struct Channel<T> {
    state: RefCell<State<T>>,
    /// One permit per free place; closed with the receiver. Unused if unbounded.
    places: Semaphore,
}

struct State<T> {
    queue: VecDeque<T>,
    waker: Option<Waker>,
    senders: usize,
    is_receiver_alive: bool,
}

impl<T> Channel<T> {
    fn new(places: usize) -> Rc<Channel<T>> {
        let state = State { queue: VecDeque::new(), waker: None, senders: 1, is_receiver_alive: true };
        Rc::new(Channel { state: RefCell::new(state), places: Semaphore::new(places) })
    }

    /// Queues a value, if there is a receiver, and wakes it.
    #[inline]
    fn push(&self, value: T) -> Result<(), T> {
        let waker = {
            let mut state = self.state.borrow_mut();
            if !state.is_receiver_alive {
                return Err(value);
            }
            state.queue.push_back(value);
            state.waker.take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
        Ok(())
    }

    fn pop(&self) -> Result<T, TryRecvError> {
        let mut state = self.state.borrow_mut();
        match state.queue.pop_front() {
            Some(value) => Ok(value),
            None if state.senders == 0 => Err(TryRecvError::Closed),
            None => Err(TryRecvError::Empty),
        }
    }

    fn poll_pop(&self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        ready!(budget::spend(cx));
        match self.pop() {
            Ok(value) => return Poll::Ready(Some(value)),
            Err(TryRecvError::Closed) => return Poll::Ready(None),
            Err(TryRecvError::Empty) => budget::refund(),
        }
        let is_same = self.state.borrow().waker.as_ref().is_some_and(|own| own.will_wake(cx.waker()));
        if !is_same {
            let waker = cx.waker().clone();
            let old = self.state.borrow_mut().waker.replace(waker);
            drop(old);
        }
        Poll::Pending
    }

    fn add_sender(&self) {
        self.state.borrow_mut().senders += 1;
    }

    fn remove_sender(&self) {
        let waker = {
            let mut state = self.state.borrow_mut();
            state.senders -= 1;
            if state.senders == 0 { state.waker.take() } else { None }
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    fn close(&self) -> VecDeque<T> {
        self.places.close();
        let mut state = self.state.borrow_mut();
        state.is_receiver_alive = false;
        std::mem::take(&mut state.queue)
    }
}

/// A channel that holds at most `capacity` values (at least one); senders wait for room.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark, spawn, sync::mpsc};
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// let (sender, mut receiver) = mpsc::channel(8);
/// let _ = spawn(async move { sender.send("hello").await.unwrap() });
/// assert_eq!(receiver.recv().await, Some("hello"));
/// assert_eq!(receiver.recv().await, None);
/// # });
/// ```
pub fn channel<T>(capacity: usize) -> (Sender<T>, Receiver<T>) {
    let channel = Channel::new(capacity.max(1));
    (Sender { channel: channel.clone() }, Receiver { channel })
}

/// A channel without a bound: sending never waits, and memory is the limit.
pub fn unbounded<T>() -> (UnboundedSender<T>, UnboundedReceiver<T>) {
    let channel = Channel::new(0);
    (UnboundedSender { channel: channel.clone() }, UnboundedReceiver { channel })
}

/// Sends into a bounded channel.
pub struct Sender<T> {
    channel: Rc<Channel<T>>,
}

/// Receives from a bounded channel.
pub struct Receiver<T> {
    channel: Rc<Channel<T>>,
}

/// Sends into an unbounded channel.
pub struct UnboundedSender<T> {
    channel: Rc<Channel<T>>,
}

/// Receives from an unbounded channel.
pub struct UnboundedReceiver<T> {
    channel: Rc<Channel<T>>,
}

impl<T> Sender<T> {
    /// Sends `value`, once there is room.
    ///
    /// # Cancellation
    /// `value` is dropped unsent; the place in the line is lost. [`Sender::try_send`] keeps it.
    ///
    /// # Errors
    /// The value, if the receiver is gone.
    pub async fn send(&self, value: T) -> Result<(), SendError<T>> {
        poll_fn(budget::spend).await;
        match self.channel.places.acquire().await {
            Ok(place) => place.forget(),
            Err(_) => return Err(SendError(value)),
        }
        self.channel.push(value).map_err(SendError)
    }

    /// Sends `value` if there is room and nobody waits for it.
    ///
    /// # Errors
    /// The value, if there is no room or no receiver.
    pub fn try_send(&self, value: T) -> Result<(), TrySendError<T>> {
        match self.channel.places.try_acquire() {
            Ok(place) => place.forget(),
            Err(TryAcquireError::NoPermits) => return Err(TrySendError::Full(value)),
            Err(TryAcquireError::Closed) => return Err(TrySendError::Closed(value)),
        }
        self.channel.push(value).map_err(TrySendError::Closed)
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.channel.places.is_closed()
    }
}

impl<T> UnboundedSender<T> {
    /// Sends `value`.
    ///
    /// # Errors
    /// The value, if the receiver is gone.
    #[inline]
    pub fn send(&self, value: T) -> Result<(), SendError<T>> {
        self.channel.push(value).map_err(SendError)
    }

    /// Whether the receiver is gone.
    pub fn is_closed(&self) -> bool {
        self.channel.places.is_closed()
    }
}

impl<T> Receiver<T> {
    /// Receives the next value; `None` once all senders are gone and all is received.
    ///
    /// # Cancellation
    /// Safe. A value stays in the channel until this resolves with it.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next value.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let value = ready!(self.channel.poll_pop(cx));
        if value.is_some() {
            self.channel.places.add_permits(1);
        }
        Poll::Ready(value)
    }

    /// Takes a value if there is one.
    ///
    /// # Errors
    /// If there is none, now or ever.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        let value = self.channel.pop()?;
        self.channel.places.add_permits(1);
        Ok(value)
    }
}

impl<T> UnboundedReceiver<T> {
    /// Receives the next value; `None` once all senders are gone and all is received.
    ///
    /// # Cancellation
    /// Safe. A value stays in the channel until this resolves with it.
    pub async fn recv(&mut self) -> Option<T> {
        poll_fn(|cx| self.poll_recv(cx)).await
    }

    /// Polls for the next value.
    #[inline]
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<T>> {
        self.channel.poll_pop(cx)
    }

    /// Takes a value if there is one.
    ///
    /// # Errors
    /// If there is none, now or ever.
    pub fn try_recv(&mut self) -> Result<T, TryRecvError> {
        self.channel.pop()
    }
}

macro_rules! ends {
    ($sender:ident, $receiver:ident) => {
        impl<T> Clone for $sender<T> {
            fn clone(&self) -> Self {
                self.channel.add_sender();
                $sender { channel: self.channel.clone() }
            }
        }

        impl<T> Drop for $sender<T> {
            fn drop(&mut self) {
                self.channel.remove_sender();
            }
        }

        impl<T> Drop for $receiver<T> {
            fn drop(&mut self) {
                let left = self.channel.close();
                // Outside of the borrow: destructors may send.
                drop(left);
            }
        }

        impl<T> Stream for $receiver<T> {
            type Item = T;

            fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
                self.poll_recv(cx)
            }
        }

        impl<T> fmt::Debug for $sender<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($sender)).finish_non_exhaustive()
            }
        }

        impl<T> fmt::Debug for $receiver<T> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($receiver)).finish_non_exhaustive()
            }
        }
    };
}

ends!(Sender, Receiver);
ends!(UnboundedSender, UnboundedReceiver);
