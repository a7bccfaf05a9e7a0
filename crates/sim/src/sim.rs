//! One simulation: a tape, settings, and the host on which the test itself runs.

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use coronet_ring::Driver;

use crate::context;
use crate::faults::Settings;
use crate::kernel::Kernel;
use crate::tape::Tape;
use crate::world::World;

/// Sets up a [`Sim`].
#[derive(Debug)]
#[must_use]
pub struct Builder {
    tape: Tape,
    settings: Settings,
    prints: bool,
}

impl Builder {
    /// What the network and the machine are like.
    pub fn settings(self, settings: Settings) -> Self {
        Self { settings, ..self }
    }

    /// The choices, one by one, instead of a seed; see [`Tape::from_entries`].
    pub fn tape(self, tape: Tape) -> Self {
        Self { tape, ..self }
    }

    /// Prints each line of the trace to the standard error output. Off by default.
    pub fn prints_trace(self, prints: bool) -> Self {
        Self { prints, ..self }
    }

    /// The simulation.
    pub fn build(self) -> Sim {
        Sim { world: Rc::new(World::new(Kernel::new(self.settings, self.tape, self.prints))) }
    }
}

/// What became of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Report {
    /// The name of the run: same seed and same program, same hash.
    pub trace_hash: u64,
    /// Lines of the trace.
    pub trace_lines: u64,
    /// Simulated time.
    pub elapsed: Duration,
    /// Operations that were not over at the end of their host. Zero in a program that keeps order.
    pub leaked: usize,
    /// Descriptors that are still open. Zero after [`Sim::block_on`], unless one left the simulation.
    pub descriptors: usize,
    /// The choices that were made; see [`Tape::from_entries`].
    pub tape: Vec<u32>,
}

/// A simulated network of hosts.
///
/// It runs on the thread that made it, and starts no other.
pub struct Sim {
    world: Rc<World>,
}

impl Sim {
    /// The simulation of a seed, with the defaults of [`Settings`].
    pub fn new(seed: u64) -> Self {
        Self::builder(seed).build()
    }

    /// Sets up the simulation of a seed.
    pub fn builder(seed: u64) -> Builder {
        Builder { tape: Tape::from_seed(seed), settings: Settings::default(), prints: false }
    }

    /// Runs `future` to its end, on a host named `main`, and the other hosts meanwhile. Then ends all
    /// hosts.
    ///
    /// # Panics
    /// With the panic of `future` or of another host's main; if every task waits and nothing is on
    /// its way that could wake one; if it takes longer than [`Settings::time_max`]; and inside of a runtime.
    #[track_caller]
    pub fn block_on<F: Future + 'static>(&self, future: F) -> F::Output {
        let _entered = context::enter(self.world.clone());
        let _stop = StopAll(&self.world);
        let output = Rc::new(RefCell::new(None));
        let slot = output.clone();
        let main = self.world.add("main");
        let machine = self.world.start(main);
        machine.boot(async move {
            let output = future.await;
            *slot.borrow_mut() = Some(output);
        });
        drop(machine);
        let stuck = self.world.run(|| output.borrow().is_some());
        if let Err(stuck) = stuck {
            panic!("the simulation is stuck at {:?}: {stuck}", self.world.elapsed());
        }
        let output = output.borrow_mut().take();
        output.expect("the run is over when the output is there")
    }

    /// A driver on a host of its own, to be turned by hand: for suites that run the same operations
    /// on several kernels. Its turns let simulated time pass; one that would wait for ever is an error.
    ///
    /// Sockets are made by the [`System`](coronet_ring::System) of its handle.
    ///
    /// # Errors
    /// If the process has no descriptor left.
    ///
    /// # Panics
    /// If the simulation has a host of that name.
    pub fn driver(&self, name: &str) -> io::Result<Driver> {
        self.world.driver(name)
    }

    /// A pipe on the host of that name: the reading and the writing end. For drivers turned by hand.
    ///
    /// # Errors
    /// Those of `pipe(2)`.
    ///
    /// # Panics
    /// If the simulation has no host of that name.
    pub fn pipe(&self, name: &str) -> io::Result<(OwnedFd, OwnedFd)> {
        let host = self.world.by_name(name);
        self.world.kernel.borrow_mut().pipe(host)
    }

    /// What became of it so far.
    pub fn report(&self) -> Report {
        let kernel = self.world.kernel.borrow();
        Report {
            trace_hash: kernel.trace.hash(),
            trace_lines: kernel.trace.lines(),
            elapsed: self.world.elapsed(),
            leaked: self.world.leaked.get(),
            descriptors: kernel.objects.open_count(),
            tape: kernel.tape.drawn().to_vec(),
        }
    }

    /// The last lines of the trace.
    pub fn last_lines(&self, count: usize) -> Vec<String> {
        let kernel = self.world.kernel.borrow();
        let all: Vec<_> = kernel.trace.last().map(str::to_owned).collect();
        all[all.len().saturating_sub(count)..].to_vec()
    }
}

impl std::fmt::Debug for Sim {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sim").field("elapsed", &self.world.elapsed()).finish_non_exhaustive()
    }
}

/// Ends the hosts also after a panic, in their own order and with their contexts.
struct StopAll<'a>(&'a World);

impl Drop for StopAll<'_> {
    fn drop(&mut self) {
        self.0.stop_all();
        self.0.kernel.borrow_mut().sweep();
    }
}

/// Runs the future of `body` under one seed: for fuzzers and suites that bring their own loop.
///
/// # Panics
/// As [`Sim::block_on`].
#[track_caller]
pub fn run<F: Future + 'static>(seed: u64, body: impl FnOnce() -> F) -> (F::Output, Report) {
    let sim = Sim::new(seed);
    let output = sim.block_on(body());
    (output, sim.report())
}
