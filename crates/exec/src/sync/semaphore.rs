//! A number of permits, first come first served.

use std::{
    cell::{Cell, RefCell},
    fmt,
    pin::Pin,
    task::{Context, Poll, Waker},
};

use super::{
    error::{AcquireError, TryAcquireError},
    waiters::Waiters,
};

/// A number of permits that tasks take and give back.
///
/// Fair: a waiter for many permits is not overtaken by waiters for few.
pub struct Semaphore {
    permits: Cell<usize>,
    is_closed: Cell<bool>,
    /// How many permits each wants.
    waiters: RefCell<Waiters<usize>>,
}

impl Semaphore {
    /// A semaphore with `permits` permits.
    pub fn new(permits: usize) -> Semaphore {
        Semaphore {
            permits: Cell::new(permits),
            is_closed: Cell::new(false),
            waiters: RefCell::new(Waiters::new()),
        }
    }

    /// Permits that nobody holds.
    pub fn available_permits(&self) -> usize {
        self.permits.get()
    }

    /// Takes one permit.
    ///
    /// # Cancellation
    /// Safe. Permits that were handed to this future go to the next in line; its place is lost.
    ///
    /// # Errors
    /// If the semaphore is or gets closed.
    pub fn acquire(&self) -> Acquire<'_> {
        self.acquire_many(1)
    }

    /// Takes `count` permits at once.
    ///
    /// # Cancellation
    /// As for [`Semaphore::acquire`].
    ///
    /// # Errors
    /// If the semaphore is or gets closed.
    pub fn acquire_many(&self, count: usize) -> Acquire<'_> {
        Acquire { semaphore: self, count, key: None }
    }

    /// Takes one permit, or fails at once.
    ///
    /// # Errors
    /// If none is left, if others wait, or if the semaphore is closed.
    pub fn try_acquire(&self) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        self.try_acquire_many(1)
    }

    /// Takes `count` permits, or fails at once.
    ///
    /// # Errors
    /// If too few are left, if others wait, or if the semaphore is closed.
    pub fn try_acquire_many(&self, count: usize) -> Result<SemaphorePermit<'_>, TryAcquireError> {
        if self.is_closed.get() {
            return Err(TryAcquireError::Closed);
        }
        if !self.waiters.borrow().is_empty() || self.permits.get() < count {
            return Err(TryAcquireError::NoPermits);
        }
        self.permits.set(self.permits.get() - count);
        Ok(SemaphorePermit { semaphore: self, count })
    }

    /// Adds permits.
    ///
    /// # Panics
    /// If there would be more than `usize::MAX`.
    pub fn add_permits(&self, count: usize) {
        let permits = self.permits.get().checked_add(count).expect("too many permits");
        self.permits.set(permits);
        self.serve();
    }

    /// Refuses all who wait and all who come. Permits that were taken stay valid.
    pub fn close(&self) {
        self.is_closed.set(true);
        loop {
            let waker = {
                let mut waiters = self.waiters.borrow_mut();
                let Some(key) = waiters.first_key() else { break };
                // Granted nothing: it sees that the semaphore is closed.
                *waiters.want_mut(key) = 0;
                waiters.grant_first()
            };
            wake(waker);
        }
    }

    /// Whether it was closed.
    pub fn is_closed(&self) -> bool {
        self.is_closed.get()
    }

    /// Hands permits to those who wait longest.
    fn serve(&self) {
        loop {
            let waker = {
                let mut waiters = self.waiters.borrow_mut();
                match waiters.first() {
                    Some(&count) if count <= self.permits.get() => {
                        self.permits.set(self.permits.get() - count);
                        waiters.grant_first()
                    }
                    _ => return,
                }
            };
            // Outside of the borrow: a waker may run anything.
            wake(waker);
        }
    }
}

fn wake(waker: Option<Waker>) {
    if let Some(waker) = waker {
        waker.wake();
    }
}

impl fmt::Debug for Semaphore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Semaphore")
            .field("permits", &self.permits.get())
            .field("is_closed", &self.is_closed.get())
            .finish_non_exhaustive()
    }
}

/// The future of [`Semaphore::acquire`].
#[must_use = "futures do nothing unless awaited"]
pub struct Acquire<'a> {
    semaphore: &'a Semaphore,
    count: usize,
    key: Option<usize>,
}

impl<'a> Future for Acquire<'a> {
    type Output = Result<SemaphorePermit<'a>, AcquireError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let semaphore = self.semaphore;
        let Some(key) = self.key else {
            return match semaphore.try_acquire_many(self.count) {
                Ok(permit) => Poll::Ready(Ok(permit)),
                Err(TryAcquireError::Closed) => Poll::Ready(Err(AcquireError)),
                Err(TryAcquireError::NoPermits) => {
                    let waker = cx.waker().clone();
                    self.key = Some(semaphore.waiters.borrow_mut().push(self.count, waker));
                    Poll::Pending
                }
            };
        };
        if semaphore.waiters.borrow().is_granted(key) {
            self.key = None;
            let (count, _) = semaphore.waiters.borrow_mut().remove(key);
            if count < self.count {
                return Poll::Ready(Err(AcquireError));
            }
            return Poll::Ready(Ok(SemaphorePermit { semaphore, count }));
        }
        if !semaphore.waiters.borrow().will_wake(key, cx.waker()) {
            let waker = cx.waker().clone();
            let old = semaphore.waiters.borrow_mut().replace_waker(key, waker);
            drop(old);
        }
        Poll::Pending
    }
}

impl Drop for Acquire<'_> {
    fn drop(&mut self) {
        let Some(key) = self.key.take() else { return };
        let (count, waker) = self.semaphore.waiters.borrow_mut().remove(key);
        if waker.is_none() {
            self.semaphore.add_permits(count);
        } else {
            drop(waker);
            // Who came after it may want less.
            self.semaphore.serve();
        }
    }
}

impl fmt::Debug for Acquire<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Acquire").field("count", &self.count).finish_non_exhaustive()
    }
}

/// Permits that were taken; dropping it gives them back.
#[derive(Debug)]
#[must_use = "dropping a permit gives it back"]
pub struct SemaphorePermit<'a> {
    semaphore: &'a Semaphore,
    count: usize,
}

impl SemaphorePermit<'_> {
    /// Takes the permits out of circulation.
    pub fn forget(mut self) {
        self.count = 0;
    }
}

impl Drop for SemaphorePermit<'_> {
    fn drop(&mut self) {
        if self.count > 0 {
            self.semaphore.add_permits(self.count);
        }
    }
}
