//! The handle of a task, and why a task may have no output.

#![allow(unsafe_code, reason = "asks a type-erased cell for its output")]

use std::{
    any::Any,
    error::Error,
    fmt,
    marker::PhantomData,
    pin::Pin,
    ptr::NonNull,
    sync::Mutex,
    task::{Context, Poll},
};

use super::{
    header::{self, Header, TaskId},
    raw,
    remote::Then,
    state::{self, State},
};

/// Waits for a task, on its own core.
///
/// Awaiting it gives the output, or a [`JoinError`] if the task panicked or was aborted.
/// Dropping it detaches the task, which goes on.
///
/// # Cancellation
/// Safe. The handle may be awaited by reference and given up at any time; the output stays
/// until the handle takes it or is dropped.
///
/// # Panics
/// When polled again after it gave its output.
pub struct JoinHandle<T> {
    header: NonNull<Header>,
    /// Neither `Send` nor `Sync`: it is the witness of [task-owned].
    output: PhantomData<(T, *const ())>,
}

impl<T> JoinHandle<T> {
    /// # Safety
    /// - `header` is a live task of this thread whose output is a `T`.
    /// - One reference and `join_interest` are the handle's. \[cell-alive\]
    pub(super) unsafe fn new(header: NonNull<Header>) -> JoinHandle<T> {
        JoinHandle { header, output: PhantomData }
    }

    fn cell(&self) -> &Header {
        // SAFETY: [cell-alive] the handle holds a reference.
        unsafe { self.header.as_ref() }
    }

    /// Ends the task: its future is dropped instead of being polled again.
    ///
    /// Takes effect when the executor comes to it, not before this returns. A task that is being
    /// polled right now, or has finished, may still give its output. Awaiting the
    /// handle afterwards tells which.
    pub fn abort(&self) {
        let cell = self.cell();
        let (next, enqueue) = state::transition_to_aborted(cell.state.get());
        cell.state.set(next);
        if next != State::Finished {
            // SAFETY: [home-alive] an unfinished task is not orphaned.
            let home = unsafe { cell.home.as_ref() };
            home.obey(self.header, enqueue);
            home.announce();
        }
    }

    /// Whether the task is over, so that awaiting it would not wait.
    pub fn is_finished(&self) -> bool {
        self.cell().state.get() == State::Finished
    }

    /// Names the task.
    pub fn id(&self) -> TaskId {
        // SAFETY: [cell-alive] the handle holds a reference.
        unsafe { raw::prefix(self.header) }.id.get()
    }
}

impl<T> Future for JoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let cell = self.cell();
        if cell.state.get() == State::Finished {
            let mut output: Option<Self::Output> = None;
            let take_output = cell.vtable.take_output;
            // SAFETY: [one-poll] finished, and we are its one handle; the cell's output is a `T`.
            unsafe { take_output(self.header, (&raw mut output).cast()) };
            // The destructor need not look for an output any more.
            cell.join_interest.set(false);
            return Poll::Ready(output.expect("a JoinHandle was polled after it gave its output"));
        }
        // SAFETY: [cell-alive] the handle holds a reference.
        let slot = unsafe { raw::prefix(self.header) }.join_waker.get();
        // SAFETY: [task-owned] we are on the owner's thread; the reference ends in this statement,
        // and comparing wakers runs no other code.
        let is_same = unsafe { &*slot }.as_ref().is_some_and(|own| own.will_wake(cx.waker()));
        if !is_same {
            // Cloned before the slot is touched: cloning may run code of another runtime.
            let waker = cx.waker().clone();
            // SAFETY: [task-owned] the reference ends in this statement.
            let old = unsafe { &mut *slot }.replace(waker);
            drop(old);
        }
        Poll::Pending
    }
}

/// Nothing in the handle is pinned: the output is moved out of the cell.
impl<T> Unpin for JoinHandle<T> {}

impl<T> Drop for JoinHandle<T> {
    fn drop(&mut self) {
        // Gives up the reference also if the destructor of the output panics.
        struct Release(NonNull<Header>);
        impl Drop for Release {
            fn drop(&mut self) {
                // SAFETY: [cell-alive] the handle's reference is given up only below.
                let cell = unsafe { self.0.as_ref() };
                if cell.remote.is_orphan() {
                    if cell.remote.sub_ref(false) == Then::Free {
                        // SAFETY: [cell-alive] the word said that no reference is left.
                        unsafe { header::free_orphan(self.0) };
                    }
                } else if cell.sub_ref() {
                    // SAFETY: [cell-alive] that was the last reference, and not an orphan's.
                    unsafe { header::free_at_home(self.0) };
                }
            }
        }

        let release = Release(self.header);
        let cell = self.cell();
        let wants_output = cell.join_interest.replace(false);
        // SAFETY: [cell-alive] the handle holds a reference.
        let slot = unsafe { raw::prefix(self.header) }.join_waker.get();
        // SAFETY: [task-owned] the reference ends in this statement.
        let waker = unsafe { &mut *slot }.take();
        if let Some(waker) = waker {
            // A waker of another runtime may panic; the output must go all the same. [stage-empty]
            let _ = raw::catch(|| drop(waker));
        }
        if wants_output && cell.state.get() == State::Finished {
            let drop_output = cell.vtable.drop_output;
            // SAFETY: [one-poll] finished, and we are its one handle.
            unsafe { drop_output(self.header) };
        }
        drop(release);
    }
}

impl<T> fmt::Debug for JoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinHandle")
            .field("id", &self.id())
            .field("is_finished", &self.is_finished())
            .finish()
    }
}

/// Why a task gave no output.
pub struct JoinError {
    /// The payload in a lock that nobody contends: it makes the error `Sync`. In a box, because
    /// each task has room for an error, and few need it.
    panic: Option<Box<Mutex<Box<dyn Any + Send>>>>,
}

impl JoinError {
    pub(crate) fn cancelled() -> JoinError {
        JoinError { panic: None }
    }

    pub(crate) fn panic(payload: Box<dyn Any + Send>) -> JoinError {
        JoinError { panic: Some(Box::new(Mutex::new(payload))) }
    }

    /// Whether the task panicked.
    pub fn is_panic(&self) -> bool {
        self.panic.is_some()
    }

    /// Whether the task was aborted, or its core shut down.
    pub fn is_cancelled(&self) -> bool {
        self.panic.is_none()
    }

    /// The payload of the panic, for `std::panic::resume_unwind`.
    ///
    /// # Panics
    /// If the task did not panic.
    pub fn into_panic(self) -> Box<dyn Any + Send> {
        self.try_into_panic().expect("the task was cancelled, it did not panic")
    }

    /// The payload of the panic, or the error itself.
    ///
    /// # Errors
    /// The error, if the task was cancelled.
    pub fn try_into_panic(self) -> Result<Box<dyn Any + Send>, JoinError> {
        match self.panic {
            Some(panic) => Ok((*panic).into_inner().unwrap_or_else(std::sync::PoisonError::into_inner)),
            None => Err(self),
        }
    }

    /// The message of the panic, if it has one.
    fn message(&self) -> Option<String> {
        let panic = self.panic.as_ref()?.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        panic
            .downcast_ref::<&'static str>()
            .map(|message| (*message).to_owned())
            .or_else(|| panic.downcast_ref::<String>().cloned())
    }
}

impl fmt::Display for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.is_panic(), self.message()) {
            (false, _) => f.write_str("the task was cancelled"),
            (true, Some(message)) => write!(f, "the task panicked: {message}"),
            (true, None) => f.write_str("the task panicked"),
        }
    }
}

impl fmt::Debug for JoinError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JoinError({self})")
    }
}

impl Error for JoinError {}
