//! A set of tasks whose outputs are taken as they come.

use std::{
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
};

use futures_core::Stream;

use crate::{
    services,
    sync::mpsc,
    task::{JoinError, JoinHandle, TaskId},
};

/// Tasks of one kind, joined in the order in which they finish.
///
/// Dropping the set aborts what is left in it.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark, tasks::JoinSet};
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// let mut set = JoinSet::new();
/// for n in 1..=3 {
///     set.spawn(async move { n });
/// }
/// let mut sum = 0;
/// while let Some(n) = set.join_next().await {
///     sum += n.unwrap();
/// }
/// assert_eq!(sum, 6);
/// # });
/// ```
pub struct JoinSet<T> {
    handles: slab::Slab<JoinHandle<T>>,
    /// Keys of finished tasks, in order.
    finished: mpsc::UnboundedReceiver<usize>,
    report: mpsc::UnboundedSender<usize>,
}

/// Reports the key when the task is over, however it ends.
struct Report {
    key: usize,
    to: mpsc::UnboundedSender<usize>,
}

impl Drop for Report {
    fn drop(&mut self) {
        // Fails only if the set is gone.
        let _ = self.to.send(self.key);
    }
}

impl<T: 'static> JoinSet<T> {
    /// An empty set.
    pub fn new() -> JoinSet<T> {
        let (report, finished) = mpsc::unbounded();
        JoinSet { handles: slab::Slab::new(), finished, report }
    }

    /// Starts a task in the set.
    ///
    /// # Cancellation
    /// The task is dropped with the set.
    ///
    /// # Panics
    /// Outside of an executor.
    #[track_caller]
    pub fn spawn<F>(&mut self, future: F) -> TaskId
    where
        F: Future<Output = T> + 'static,
    {
        let entry = self.handles.vacant_entry();
        let report = Report { key: entry.key(), to: self.report.clone() };
        let handle = services::expect("JoinSet::spawn", |services| {
            services.spawn(
                async move {
                    let _report = report;
                    future.await
                },
                None,
            )
        });
        let id = handle.id();
        entry.insert(handle);
        id
    }

    /// How many tasks are in the set, finished ones that were not joined included.
    pub fn len(&self) -> usize {
        self.handles.len()
    }

    /// Whether the set is empty.
    pub fn is_empty(&self) -> bool {
        self.handles.is_empty()
    }

    /// Waits for the next task to finish; `None` if the set is empty.
    ///
    /// # Cancellation
    /// Safe. No output is lost: the next call gets it.
    pub async fn join_next(&mut self) -> Option<Result<T, JoinError>> {
        poll_fn(|cx| self.poll_join_next(cx)).await
    }

    /// Polls for the next task to finish; `None` if the set is empty.
    pub fn poll_join_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, JoinError>>> {
        if self.handles.is_empty() {
            return Poll::Ready(None);
        }
        loop {
            let Some(key) = std::task::ready!(self.finished.poll_recv(cx)) else {
                unreachable!("the set holds a sender")
            };
            let Some(handle) = self.handles.get_mut(key) else { continue };
            // The report is sent by a destructor of the future, an instant before its task counts
            // as finished. We run in between only if the destructor polls us.
            match Pin::new(handle).poll(cx) {
                Poll::Ready(output) => {
                    drop(self.handles.remove(key));
                    return Poll::Ready(Some(output));
                }
                Poll::Pending => {
                    let _ = self.report.send(key);
                    return Poll::Pending;
                }
            }
        }
    }

    /// Aborts all tasks; `join_next` still reports each.
    pub fn abort_all(&mut self) {
        for (_, handle) in &self.handles {
            handle.abort();
        }
    }

    /// Lets all tasks go on without the set.
    pub fn detach_all(&mut self) {
        // Their reports find no entry, or another task's: hence a new channel.
        let (report, finished) = mpsc::unbounded();
        self.report = report;
        self.finished = finished;
        self.handles.clear();
    }

    /// Aborts all tasks and waits until all are gone.
    ///
    /// # Cancellation
    /// Safe. The tasks are aborted all the same; the next call waits for the rest.
    pub async fn shutdown(&mut self) {
        self.abort_all();
        while self.join_next().await.is_some() {}
    }
}

impl<T: 'static> Default for JoinSet<T> {
    fn default() -> JoinSet<T> {
        JoinSet::new()
    }
}

impl<T: 'static> Stream for JoinSet<T> {
    type Item = Result<T, JoinError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_join_next(cx)
    }
}

impl<T> Drop for JoinSet<T> {
    fn drop(&mut self) {
        for (_, handle) in &self.handles {
            handle.abort();
        }
    }
}

impl<T> fmt::Debug for JoinSet<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JoinSet").field("len", &self.handles.len()).finish()
    }
}
