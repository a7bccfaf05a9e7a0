//! All hosts of one simulation, and whose turn it is. Time moves when nobody can run.

use std::any::Any;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::rc::Rc;
use std::time::Duration;

use coronet_exec::JoinError;
use coronet_ring::Driver;

use crate::backend::SimBackend;
use crate::context;
use crate::kernel::{HostId, Kernel};
use crate::machine::{Boot, DRAIN_MAX, Machine};

/// Rounds without a step of the clock after which tasks are said to run in circles.
const ROUNDS_MAX: u64 = 100_000;
/// Steps of the clock after which a run is said to get nowhere: half a minute of real time or so.
const STEPS_MAX: u64 = 3_000_000;

/// Something that a task asked for, and that happens between two turns.
enum Order {
    Start(HostId),
    Crash(HostId),
}

pub(crate) struct World {
    pub(crate) kernel: Rc<RefCell<Kernel>>,
    machines: RefCell<BTreeMap<HostId, Rc<Machine>>>,
    boots: RefCell<BTreeMap<HostId, Boot>>,
    orders: RefCell<VecDeque<Order>>,
    current: Cell<Option<HostId>>,
    started_at: Duration,
    pub(crate) leaked: Rc<Cell<usize>>,
}

/// Why a simulation cannot go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stuck {
    Deadlock,
    Circles,
    TooLong(Duration),
    TooManySteps,
}

impl fmt::Display for Stuck {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Deadlock => f.write_str("every task waits, and nothing is on its way that could wake one"),
            Self::Circles => f.write_str("tasks run in circles: no time passes between their turns"),
            Self::TooManySteps => write!(f, "it is not over after {STEPS_MAX} steps of the clock"),
            Self::TooLong(time) => write!(f, "it is not over after {time:?} of simulated time"),
        }
    }
}

impl World {
    pub(crate) fn new(kernel: Kernel) -> Self {
        let started_at = kernel.now();
        Self {
            kernel: Rc::new(RefCell::new(kernel)),
            machines: RefCell::default(),
            boots: RefCell::default(),
            orders: RefCell::default(),
            current: Cell::new(None),
            started_at,
            leaked: Rc::default(),
        }
    }

    /// The world that this thread runs in.
    #[track_caller]
    pub(crate) fn current() -> Rc<Self> {
        let current = context::current().and_then(|world| (world as Rc<dyn Any>).downcast::<Self>().ok());
        current.expect("no simulation on this thread: call it inside of `Sim::block_on` or a simulated test")
    }

    /// The host whose task calls.
    pub(crate) fn host_of_caller(&self) -> HostId {
        self.current.get().expect("called by a task of a host")
    }

    pub(crate) fn by_name(&self, name: &str) -> HostId {
        let found = self.kernel.borrow().network.by_name(name);
        found.unwrap_or_else(|| panic!("the simulation has no host named {name:?}"))
    }

    /// Time since the simulation began.
    pub(crate) fn elapsed(&self) -> Duration {
        self.kernel.borrow().now() - self.started_at
    }

    /// Makes a host that has nothing to do yet.
    pub(crate) fn add(&self, name: &str) -> HostId {
        let mut kernel = self.kernel.borrow_mut();
        assert!(kernel.network.by_name(name).is_none(), "the simulation has a host named {name:?} already");
        kernel.network.add(name)
    }

    /// A driver on a host of its own, which nothing else runs on.
    pub(crate) fn driver(&self, name: &str) -> io::Result<Driver> {
        let host = self.add(name);
        let backend = SimBackend::new(&self.kernel, host)?;
        Ok(Driver::with_backend(Box::new(backend), DRAIN_MAX))
    }

    pub(crate) fn set_boot(&self, host: HostId, boot: Boot) {
        self.boots.borrow_mut().insert(host, boot);
        self.orders.borrow_mut().push_back(Order::Start(host));
    }

    pub(crate) fn order_crash(&self, host: HostId) {
        assert!(self.boots.borrow().contains_key(&host), "the host of the test itself cannot crash");
        self.orders.borrow_mut().push_back(Order::Crash(host));
    }

    pub(crate) fn order_start(&self, host: HostId) {
        self.orders.borrow_mut().push_back(Order::Start(host));
    }

    /// Starts a host now.
    pub(crate) fn start(&self, host: HostId) -> Rc<Machine> {
        self.kernel.borrow_mut().power_on(host);
        let machine = Machine::start(&self.kernel, host, &self.leaked);
        let machine = Rc::new(machine.unwrap_or_else(|error| panic!("a host cannot be simulated: {error}")));
        self.machines.borrow_mut().insert(host, machine.clone());
        machine
    }

    fn carry_out_orders(&self) {
        loop {
            let Some(order) = self.orders.borrow_mut().pop_front() else { return };
            match order {
                Order::Start(host) => {
                    if !self.machines.borrow().contains_key(&host) {
                        let boot = self.boots.borrow().get(&host).cloned().expect("a host with a main");
                        self.start(host).boot(boot());
                    }
                }
                Order::Crash(host) => {
                    self.kernel.borrow_mut().power_off(host);
                    self.stop(host);
                }
            }
        }
    }

    fn stop(&self, host: HostId) {
        let machine = self.machines.borrow_mut().remove(&host);
        self.current.set(Some(host));
        drop(machine);
        self.current.set(None);
        self.kernel.borrow_mut().may_have_closed = true;
    }

    /// Ends all hosts, the first one last.
    pub(crate) fn stop_all(&self) {
        loop {
            let Some(host) = self.machines.borrow().keys().next_back().copied() else { return };
            self.stop(host);
        }
    }

    /// Lets the hosts run in turn until `is_over` says so.
    pub(crate) fn run(&self, mut is_over: impl FnMut() -> bool) -> Result<(), Stuck> {
        let (mut rounds, mut steps) = (0, 0);
        loop {
            self.carry_out_orders();
            self.round();
            if is_over() {
                return Ok(());
            }
            self.watch_mains();
            // What a completion was dropped for may have closed descriptors since its host's last look.
            let is_busy = self.machines.borrow().values().any(|machine| machine.is_busy())
                || !self.orders.borrow().is_empty()
                || self.kernel.borrow_mut().sweep_after_completions();
            if is_busy {
                rounds += 1;
                if rounds > ROUNDS_MAX {
                    return Err(Stuck::Circles);
                }
                continue;
            }
            (rounds, steps) = (0, steps + 1);
            if steps > STEPS_MAX {
                return Err(Stuck::TooManySteps);
            }
            self.step_clock()?;
        }
    }

    /// Each host once, from a host of the tape's choice on.
    fn round(&self) {
        let mut machines: Vec<_> =
            self.machines.borrow().iter().map(|(host, machine)| (*host, machine.clone())).collect();
        if !machines.is_empty() {
            let first = self.kernel.borrow_mut().tape.below(machines.len() as u64);
            machines.rotate_left(first as usize);
        }
        for (host, machine) in machines {
            self.current.set(Some(host));
            machine.turn();
            self.current.set(None);
        }
    }

    /// A host whose main panics ends the simulation with that panic.
    fn watch_mains(&self) {
        let panic = self.machines.borrow().values().find_map(|machine| machine.ended()?.err());
        if let Some(error) = panic.filter(JoinError::is_panic) {
            std::panic::resume_unwind(error.into_panic());
        }
    }

    fn step_clock(&self) -> Result<(), Stuck> {
        let timers = self.machines.borrow().values().filter_map(|machine| machine.next_timer()).min();
        let mut kernel = self.kernel.borrow_mut();
        let next = kernel.events.next_at().into_iter().chain(timers).min().ok_or(Stuck::Deadlock)?;
        let limit = kernel.settings.time_max;
        if next.saturating_sub(self.started_at) > limit {
            return Err(Stuck::TooLong(limit));
        }
        kernel.advance_to(next);
        kernel.run_due();
        Ok(())
    }
}
