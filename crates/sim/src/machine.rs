//! One running host: a driver on the simulated kernel, an executor, and the context of its sockets.

use std::cell::{Cell, RefCell};
use std::future::Future;
use std::io;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coronet_exec::{Clock, Config, Executor, JoinError, JoinHandle, Park, Unpark};
use coronet_io::context;
use coronet_ring::Driver;
use coronet_ring::backend::Unparker;

use crate::backend::SimBackend;
use crate::kernel::{HostId, Kernel};

/// How long the end of a host may wait for its operations, in simulated time.
pub(crate) const DRAIN_MAX: Duration = Duration::from_secs(60);

/// What a host does when it starts.
pub(crate) type Boot = Rc<dyn Fn() -> Pin<Box<dyn Future<Output = ()>>>>;

/// A host that is up.
pub(crate) struct Machine {
    /// `None` only while it is dropped.
    executor: Option<Executor>,
    context: Rc<context::Context>,
    main: RefCell<Option<JoinHandle<()>>>,
}

impl Machine {
    pub(crate) fn start(
        kernel: &Rc<RefCell<Kernel>>,
        host: HostId,
        leaked: &Rc<Cell<usize>>,
    ) -> io::Result<Self> {
        let backend = SimBackend::new(kernel, host)?;
        let driver = Driver::with_backend(Box::new(backend), DRAIN_MAX);
        let context = Rc::new(context::Context::new(driver.handle()));
        let mut config = Config::default();
        config.clock = Clock::Virtual(kernel.borrow().clock.clone());
        config.blocking_here = true;
        config.drain_timeout = DRAIN_MAX;
        let park = SimPark { driver, kernel: kernel.clone(), polls: 0, leaked: leaked.clone() };
        let executor = Some(Executor::new(Box::new(park), config));
        Ok(Self { executor, context, main: RefCell::new(None) })
    }

    fn executor(&self) -> &Executor {
        self.executor.as_ref().expect("the machine is not dropped yet")
    }

    /// Spawns what the host is there for.
    pub(crate) fn boot(&self, main: impl Future<Output = ()> + 'static) {
        *self.main.borrow_mut() = Some(self.executor().spawn(main));
    }

    /// One tick.
    pub(crate) fn turn(&self) {
        let _entered = context::enter(self.context.clone());
        let _ = self.executor().turn();
    }

    /// Whether its next tick would do something without the clock.
    pub(crate) fn is_busy(&self) -> bool {
        self.executor().can_run() || self.context.handle().has_pending()
    }

    /// When it would run again by itself.
    pub(crate) fn next_timer(&self) -> Option<Duration> {
        self.executor().next_timer().map(|at| Duration::from_nanos(at.as_nanos()))
    }

    /// How its main task ended, once.
    pub(crate) fn ended(&self) -> Option<Result<(), JoinError>> {
        let mut main = self.main.borrow_mut();
        let handle = pin!(main.as_mut()?);
        let Poll::Ready(result) = handle.poll(&mut Context::from_waker(Waker::noop())) else { return None };
        *main = None;
        Some(result)
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        // Destructors of tasks find the driver of their sockets, as they find their executor.
        let _entered = context::enter(self.context.clone());
        drop(self.executor.take());
    }
}

/// The bridge: the driver is what the executor waits in.
struct SimPark {
    driver: Driver,
    kernel: Rc<RefCell<Kernel>>,
    /// Tasks that were polled on this host before the last park.
    polls: u64,
    leaked: Rc<Cell<usize>>,
}

impl Park for SimPark {
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        let polls = coronet_exec::stats().map_or(0, |stats| stats.polls);
        let has_run = std::mem::replace(&mut self.polls, polls) != polls;
        if !has_run {
            self.kernel.borrow_mut().program_stood_still();
        }
        self.driver.turn(timeout).map(drop)
    }

    fn has_pending(&self) -> bool {
        self.driver.has_pending()
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(SimUnpark(self.driver.handle().unparker()))
    }

    fn shut_down(&mut self, timeout: Duration) {
        self.leaked.set(self.leaked.get() + self.driver.shut_down(timeout));
    }
}

struct SimUnpark(Unparker);

impl Unpark for SimUnpark {
    fn unpark(&self) {
        self.0.unpark();
    }
}
