//! Start a task, name it, let the others run.

use std::{
    fmt,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll},
};

use crate::{
    context, services,
    task::{JoinHandle, TaskId},
};

/// Starts a task on this core.
///
/// It runs for the first time after the caller yields, and never leaves the core, so `future` may be
/// `!Send`. Dropping the handle detaches the task; a panic in it becomes a
/// [`JoinError`](crate::JoinError).
///
/// # Cancellation
/// The task is dropped where it stands by [`JoinHandle::abort`] and when the executor is dropped.
///
/// # Panics
/// Outside of an executor.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark};
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// let answer = coronet_exec::spawn(async { 6 * 7 });
/// assert_eq!(answer.await.unwrap(), 42);
/// # });
/// ```
#[track_caller]
pub fn spawn<F>(future: F) -> JoinHandle<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    services::expect("spawn", |services| services.spawn(future, None))
}

/// Starts a task that has a name.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    name: Option<String>,
}

impl Builder {
    /// A task without a name, so far.
    pub fn new() -> Builder {
        Builder::default()
    }

    /// Names the task, for [`current`].
    #[must_use]
    pub fn name(mut self, name: impl Into<String>) -> Builder {
        self.name = Some(name.into());
        self
    }

    /// Starts it, as [`spawn`] does.
    ///
    /// # Cancellation
    /// As for [`spawn`].
    ///
    /// # Panics
    /// Outside of an executor.
    #[track_caller]
    pub fn spawn<F>(self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        services::expect("spawn", |services| services.spawn(future, self.name.as_deref()))
    }
}

/// Which task is running.
#[derive(Clone)]
pub struct Current {
    id: TaskId,
    name: Option<Rc<str>>,
}

impl Current {
    /// Its id.
    pub fn id(&self) -> TaskId {
        self.id
    }

    /// Its name, if it was given one.
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }
}

impl fmt::Debug for Current {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Current").field("id", &self.id).field("name", &self.name()).finish()
    }
}

/// The running task. The future of `block_on` counts as one.
///
/// # Panics
/// Outside of a task.
#[track_caller]
pub fn current() -> Current {
    try_current().expect("task::current outside of a task")
}

/// The running task, or `None` outside of one.
pub fn try_current() -> Option<Current> {
    let id = match context::with(|context| context.task.get()) {
        0 => return None,
        id => TaskId(id),
    };
    let name = services::with(|services| services?.scheduler.name(id));
    Some(Current { id, name })
}

/// Lets every other runnable task of the core run once before this one goes on.
///
/// # Cancellation
/// Safe. Nothing is held.
pub fn yield_now() -> YieldNow {
    YieldNow { has_yielded: false }
}

/// The future of [`yield_now`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct YieldNow {
    has_yielded: bool,
}

impl Future for YieldNow {
    type Output = ();

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.has_yielded {
            return Poll::Ready(());
        }
        self.has_yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}
