//! One core on the calling thread.

use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Instant;

use coronet_exec::{CoreHandle, Executor, JoinHandle};
use coronet_io::context::{self, Context};
use coronet_ring::BackendReport;
use rustix::process::{Pid, getpid};

use crate::builder::Builder;
use crate::metrics::{Metrics, combine};
use crate::park::DriverPark;

/// An executor with its driver, on the thread that made it.
///
/// Dropping it drops its tasks, cancels what is in flight, and waits for the kernel to give
/// everything back: see [`Builder::drain_timeout`].
///
/// A child that the process forks has no use of it: [`Runtime::block_on`] panics there, and dropping it
/// does nothing. Fork before a runtime runs, or execute another program; a child may make a runtime
/// of its own. Forking inside of `block_on` and going on with it in the child is not supported: the
/// memory of the ring is missing there, so that the child ends with a signal, and the parent is safe.
///
/// # Examples
/// ```
/// # fn main() -> std::io::Result<()> {
/// let runtime = coronet::Runtime::new()?;
/// println!("{}", runtime.backend());
/// assert_eq!(runtime.block_on(async { 1 + 1 }), 2);
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct Runtime {
    /// `None` only while the runtime is dropped.
    executor: Option<Executor>,
    context: Rc<Context>,
    report: BackendReport,
    /// The process that made it: see [`Runtime::is_at_home`].
    home: Pid,
}

impl Runtime {
    /// A runtime with the defaults of [`Builder`].
    ///
    /// # Errors
    /// As for [`Builder::build`].
    pub fn new() -> io::Result<Self> {
        Builder::default().build()
    }

    /// Sets a runtime up.
    pub fn builder() -> Builder {
        Builder::default()
    }

    pub(crate) fn with(builder: Builder) -> io::Result<Self> {
        let (park, context) = DriverPark::new(builder.ring_config()?)?;
        let report = context.handle().report();
        let executor = Executor::new(Box::new(park), builder.exec_config());
        Ok(Self { executor: Some(executor), context, report, home: getpid() })
    }

    /// Runs `future` to its end, and the tasks meanwhile. Tasks that are not finished by then
    /// stay, and go on with the next `block_on`.
    ///
    /// # Panics
    /// In a forked child of the process that made the runtime; inside of another `block_on` on this
    /// thread; with the panic of `future`; and if the ring
    /// cannot go on at all.
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let _entered = self.enter();
        self.executor().block_on(future)
    }

    #[track_caller]
    fn enter(&self) -> context::Entered {
        assert!(
            self.is_at_home(),
            "this runtime belongs to process {}, and this is a forked child: make a runtime of its own here",
            self.home
        );
        context::enter(self.context.clone())
    }

    /// One turn without waiting. If nothing can run then, the time of the next timer, if there is one.
    #[track_caller]
    pub(crate) fn turn(&self) -> Option<Option<Instant>> {
        let _entered = self.enter();
        self.executor().turn();
        self.executor().doze().then(|| self.next_timer())
    }

    fn next_timer(&self) -> Option<Instant> {
        let next = self.executor().next_timer()?;
        // The clocks have different zeros, and the same pace.
        Instant::now().checked_add(next.duration_since(coronet_exec::Clock::Real.now()))
    }

    /// What a foreign event loop waits for.
    pub(crate) fn wait_fd(&self) -> io::Result<OwnedFd> {
        self.context.handle().wait_fd()
    }

    pub(crate) fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        self.executor().spawn(future)
    }

    pub(crate) fn handle(&self) -> CoreHandle {
        self.executor().handle()
    }

    /// Which backend runs, and why. Displays as one line.
    pub fn backend(&self) -> &BackendReport {
        &self.report
    }

    /// The counters.
    pub fn metrics(&self) -> Metrics {
        combine(Some(&self.context), self.executor().stats())
    }

    /// False in a forked child: the ring's memory is not there, and its descriptor is the parent's ring.
    /// Asked where a runtime is entered and dropped, and not in between, for it is a system call.
    fn is_at_home(&self) -> bool {
        getpid() == self.home
    }

    fn executor(&self) -> &Executor {
        self.executor.as_ref().expect("the runtime is not dropped yet")
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        if !self.is_at_home() {
            // What is in flight is the parent's: neither cancelled nor waited for, nor closed behind its back.
            std::mem::forget((self.executor.take(), self.context.clone()));
            return;
        }
        // Destructors of tasks find their sockets' driver, as they find their executor: unless another
        // one is current on this thread, which is then the one for both.
        let _entered = (!Executor::is_running_here()).then(|| context::enter(self.context.clone()));
        drop(self.executor.take());
    }
}

impl Builder {
    /// A runtime on this thread.
    ///
    /// # Errors
    /// `InvalidInput` for entries out of range or a `CORONET_BACKEND` that does not exist; with
    /// [`Backend::Uring`](crate::Backend::Uring) a [`Refusal`](crate::Refusal), if io_uring cannot be had;
    /// otherwise see [`coronet_ring::Driver::new`].
    pub fn build(self) -> io::Result<Runtime> {
        Runtime::with(self)
    }
}

/// Runs `future` on a runtime of its own.
///
/// # Panics
/// If no backend can be had, with the reason; otherwise as [`Runtime::block_on`]. To handle the
/// error, use [`Runtime::new`].
///
/// # Examples
/// ```
/// assert_eq!(coronet::run(async { "hello" }), "hello");
/// ```
#[track_caller]
pub fn run<F: Future>(future: F) -> F::Output {
    match Runtime::new() {
        Ok(runtime) => runtime.block_on(future),
        Err(error) => panic!("no runtime can be had here: {error}"),
    }
}
