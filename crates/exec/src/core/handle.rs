//! Send work to a core, and wait for its result anywhere.

use std::{
    fmt,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use pin_project_lite::pin_project;

use super::group::CoreIndex;
use crate::{
    executor::Executor,
    mailbox::Mailbox,
    sync::cross::oneshot,
    task::{JoinError, catch},
    tasks,
};

/// Sends work to one core, from any thread.
#[derive(Clone)]
pub struct CoreHandle {
    index: CoreIndex,
    mailbox: Arc<Mailbox>,
}

impl CoreHandle {
    pub(super) fn new(index: CoreIndex, mailbox: Arc<Mailbox>) -> CoreHandle {
        CoreHandle { index, mailbox }
    }

    /// Which core it is.
    pub fn index(&self) -> CoreIndex {
        self.index
    }

    /// Starts a task there: ships `make`, which makes the future in place.
    ///
    /// So the future may be `!Send`; only `make` and the output travel. If the core is gone, or
    /// goes before the task is done, the handle reports "cancelled". A panic in
    /// `make` or in the future is carried.
    ///
    /// # Cancellation
    /// Dropping the handle detaches the task.
    pub fn spawn<M, F>(&self, make: M) -> RemoteJoinHandle<F::Output>
    where
        M: FnOnce() -> F + Send + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let (sender, receiver) = oneshot::channel();
        let job = Box::new(move || match catch(make) {
            Ok(future) => {
                // Detached: the result goes through the channel.
                drop(tasks::spawn(async move {
                    let result = Caught { future }.await;
                    let _ = sender.send(result);
                }));
            }
            Err(panic) => drop(sender.send(Err(JoinError::panic(panic)))),
        });
        // A core that is gone gives the job back; dropping it drops the sender, which says so.
        drop(self.mailbox.send(job));
        RemoteJoinHandle { receiver }
    }

    /// Runs `f` there, between two tasks.
    pub(super) fn run(&self, f: impl FnOnce() + Send + 'static) {
        drop(self.mailbox.send(Box::new(f)));
    }
}

impl Executor {
    /// Sends work to this executor, as core 0, from any thread. It is done during `block_on` or
    /// [`turn`](Executor::turn).
    pub fn handle(&self) -> CoreHandle {
        CoreHandle::new(0, self.mailbox())
    }
}

impl fmt::Debug for CoreHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CoreHandle").field("index", &self.index).finish_non_exhaustive()
    }
}

pin_project! {
    /// Turns a panic of the future into its output.
    struct Caught<F> {
        #[pin]
        future: F,
    }
}

impl<F: Future> Future for Caught<F> {
    type Output = Result<F::Output, JoinError>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        match catch(|| self.project().future.poll(cx)) {
            Ok(poll) => poll.map(Ok),
            Err(panic) => Poll::Ready(Err(JoinError::panic(panic))),
        }
    }
}

/// Waits for a task of another core: a future on any core or runtime, or blocking.
///
/// Dropping it detaches the task.
///
/// # Cancellation
/// Safe when awaited by reference: the result stays.
#[must_use = "dropping a RemoteJoinHandle detaches the task"]
pub struct RemoteJoinHandle<T> {
    receiver: oneshot::Receiver<Result<T, JoinError>>,
}

impl<T> RemoteJoinHandle<T> {
    /// Blocks the thread until the task is done.
    ///
    /// # Panics
    /// On a thread that runs an executor.
    ///
    /// # Errors
    /// If the task panicked, or its core went away.
    #[track_caller]
    pub fn wait(self) -> Result<T, JoinError> {
        flatten(self.receiver.blocking_recv())
    }
}

impl<T> Future for RemoteJoinHandle<T> {
    type Output = Result<T, JoinError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.receiver).poll(cx).map(flatten)
    }
}

fn flatten<T, E>(result: Result<Result<T, JoinError>, E>) -> Result<T, JoinError> {
    result.unwrap_or_else(|_| Err(JoinError::cancelled()))
}

impl<T> fmt::Debug for RemoteJoinHandle<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RemoteJoinHandle").finish_non_exhaustive()
    }
}
