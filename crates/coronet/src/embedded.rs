//! A runtime as a guest: somebody else's event loop waits, and turns it when there is something to do.
//!
//! What a turn does is the executor's; this file says when the host may wait, and for what.

use std::future::Future;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::time::{Duration, Instant};

use coronet_exec::{CoreHandle, JoinHandle};
use coronet_ring::BackendReport;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::builder::Builder;
use crate::metrics::Metrics;
use crate::runtime::Runtime;

/// A runtime inside of a foreign event loop: an executor with its ring, which never waits by itself.
///
/// The host's loop is short. [`turn`](Embedded::turn) until it says [`Turn::Idle`]; then wait until the
/// descriptor of [`AsFd`] is readable or the instant that came along is there, whichever is first;
/// then turn again. The descriptor can be waited for in any way, edge-triggered or not, and the host reads nothing from
/// it. One core serves one thread: that of the host's loop.
///
/// - What other threads do for its tasks (wakes, channels, closures through
///   [`handle`](Embedded::handle)) makes the descriptor readable; so does what the host does on its own
///   thread between two turns, to tasks and channels.
/// - Sockets are used inside of tasks. A host that drops one of them, or a future of its, between two turns
///   has to turn before it waits: what that handed to the ring is announced to nobody.
/// - [`Builder::idle`] is of no effect: how to wait is the host's decision.
/// - A task that polls an eventfd of the program's own through the ring may be woken late: Linux (6.18) does
///   not ring one eventfd from within another.
///
/// # Examples
/// ```
/// use coronet::{Embedded, Runtime};
/// use rustix::event::{PollFd, PollFlags, Timespec, poll};
/// use rustix::io::Errno;
///
/// # fn main() -> std::io::Result<()> {
/// let core = Embedded::new(Runtime::builder())?;
/// let task = core.spawn(async {
///     coronet::time::sleep(std::time::Duration::from_millis(5)).await;
///     "done"
/// });
/// loop {
///     let turn = core.turn();
///     // Asked between the turn and the wait: what the turn did is announced to nobody.
///     if task.is_finished() {
///         break;
///     }
///     let wait = turn.timeout().and_then(|wait| Timespec::try_from(wait).ok());
///     // A real loop has descriptors of its own in this list.
///     match poll(&mut [PollFd::new(&core, PollFlags::IN)], wait.as_ref()) {
///         // The ring's work may interrupt the wait: a wake like any other.
///         Ok(_) | Err(Errno::INTR) => {}
///         Err(error) => return Err(error.into()),
///     }
/// }
/// assert_eq!(core.block_on(task).unwrap(), "done");
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Embedded {
    runtime: Runtime,
    wait: OwnedFd,
}

/// What the host may do after a turn.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use = "a host that waits without having been told `Idle` may sleep through what is there already"]
pub enum Turn {
    /// Something can run now: turn again before waiting. The host may look after others in between.
    Ready,
    /// Nothing can run. Wait until the descriptor is readable, or until then.
    Idle {
        /// When to turn again for the timers of tasks, if there are any: when the next one is due, or somewhat
        /// before if it is far away.
        until: Option<Instant>,
    },
}

impl Turn {
    /// How long the host may wait: not at all, until the next timer, or (`None`) without limit.
    pub fn timeout(self) -> Option<Duration> {
        match self {
            Self::Ready => Some(Duration::ZERO),
            Self::Idle { until } => until.map(|until| until.saturating_duration_since(Instant::now())),
        }
    }
}

impl Embedded {
    /// A runtime for the calling thread.
    ///
    /// # Kernel
    /// As for any runtime. On io_uring each turn costs up to two system calls more than
    /// [`Runtime::block_on`]: the ring rings an eventfd, and that is looked at before a wait.
    ///
    /// # Errors
    /// As for [`Builder::build`]; and if there is no descriptor left for the host to wait for.
    pub fn new(builder: Builder) -> io::Result<Self> {
        let runtime = builder.build()?;
        let wait = runtime.wait_fd()?;
        Ok(Self { runtime, wait })
    }

    /// Lets tasks run once around, hands over what they ask for, and collects what is there. Does not wait.
    ///
    /// # Panics
    /// Inside of a task of Coronet on this thread, in a forked child, and if the ring cannot go on at all.
    #[track_caller]
    pub fn turn(&self) -> Turn {
        let Some(until) = self.runtime.turn() else { return Turn::Ready };
        // Who watches edges is told of changes only, and on epoll a turn may leave events where they are.
        if is_readable(&self.wait) { Turn::Ready } else { Turn::Idle { until } }
    }

    /// Spawns a task; it runs during the next turns.
    ///
    /// The handle can be awaited in tasks of Coronet, and in those of the host on this thread.
    ///
    /// # Cancellation
    /// Dropping the handle detaches the task, which goes on.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.runtime.spawn(future)
    }

    /// Sends work here from other threads.
    pub fn handle(&self) -> CoreHandle {
        self.runtime.handle()
    }

    /// Runs `future` to its end, and the tasks meanwhile, while the host stands still: for the end of a
    /// program, when there is nobody else to serve.
    ///
    /// # Panics
    /// As [`Runtime::block_on`].
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        self.runtime.block_on(future)
    }

    /// Which backend runs, and why. Displays as one line.
    pub fn backend(&self) -> &BackendReport {
        self.runtime.backend()
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        self.runtime.metrics()
    }
}

impl AsFd for Embedded {
    /// What the host waits for. It stays the same.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wait.as_fd()
    }
}

impl AsRawFd for Embedded {
    fn as_raw_fd(&self) -> RawFd {
        self.wait.as_raw_fd()
    }
}

fn is_readable(fd: &OwnedFd) -> bool {
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    // An error says nothing about the descriptor: turn again rather than sleep too long.
    poll(&mut [PollFd::new(fd, PollFlags::IN)], Some(&now)) != Ok(0)
}
