//! The executor of one core. One tick = run ready tasks within budget, fire timers, park.
//!
//! It owns what the core needs and decides *when*: the order of work is here, the work itself
//! in the modules below. It knows no I/O; that is behind [`Park`].

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    fmt,
    pin::{Pin, pin},
    rc::Rc,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use crate::{
    blocking::Pool,
    budget,
    clock::{Clock, Instant},
    context,
    idle::{Idle, Waiting},
    mailbox::{Bell, Mailbox},
    park::Park,
    services::Services,
    stats::Stats,
    task::{JoinHandle, Scheduler, catch},
    timer::Timers,
};

/// How an executor works. `Config::default()` is right for most.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// How many tasks run before the executor looks for events and other threads' wakes.
    ///
    /// Default 61: the look then costs 0.2 ns per task with `ThreadPark`, 0.5 ns with a timer
    /// armed (measured with tasks that only yield, 7.7 ns each; at 16 it costs 2 ns with a timer).
    /// What it costs with an I/O driver is the driver's. Prime, so that no pattern of tasks gets in step.
    pub event_interval: u32,
    /// What the core does while nothing can run. Default: it sleeps at once.
    pub idle: Idle,
    /// How many threads `spawn_blocking` may use at a time. They start when needed and
    /// end after ten idle seconds. Default 64; the cores of a group share one pool.
    ///
    /// Enough to keep disks and resolvers busy; a program that parks hundreds of threads in
    /// blocking calls should say so.
    pub blocking_threads: usize,
    /// Runs `spawn_blocking` at once, on the core: for a simulation, in which a thread would be
    /// chance. Default: no.
    pub blocking_here: bool,
    /// Where the time comes from. Default: the kernel.
    pub clock: Clock,
    /// How long `Park::shut_down` may take. Default one second.
    pub drain_timeout: Duration,
    /// The pool of a group, shared by its cores.
    pub(crate) pool: Option<Arc<Pool>>,
}

impl Default for Config {
    fn default() -> Config {
        Config {
            event_interval: 61,
            idle: Idle::Sleep,
            blocking_threads: 64,
            blocking_here: false,
            clock: Clock::Real,
            drain_timeout: Duration::from_secs(1),
            pool: None,
        }
    }
}

/// Runs tasks on the thread that made it.
///
/// Dropping it drops all tasks, with the executor still current for their destructors, and then
/// shuts the park down. Handles and wakers that outlive it are safe: joins report
/// "cancelled", wakes do nothing.
pub struct Executor {
    services: Rc<Services>,
    bell: Arc<Bell>,
    park: RefCell<Box<dyn Park>>,
    waiting: RefCell<Waiting>,
    event_interval: u32,
    drain_timeout: Duration,
    root: Root,
}

/// The future of `block_on` is not a task: it may borrow, and its output goes to the caller.
/// But a *stand-in* is: its waker is the root's, and "polling" it raises a flag. So waking the
/// root costs what waking a task costs, and it takes its turn among the tasks.
struct Root {
    is_woken: Rc<Cell<bool>>,
    waker: Waker,
    task: u64,
    /// Held so that the stand-in is not detached before its time.
    _stand_in: JoinHandle<()>,
}

struct StandIn {
    is_woken: Rc<Cell<bool>>,
    waker: Rc<RefCell<Option<Waker>>>,
}

impl Future for StandIn {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.is_woken.set(true);
        if self.waker.borrow().is_none() {
            let waker = cx.waker().clone();
            *self.waker.borrow_mut() = Some(waker);
        }
        Poll::Pending
    }
}

impl Root {
    fn new(scheduler: &Arc<Scheduler>) -> Root {
        let is_woken = Rc::new(Cell::new(false));
        let slot = Rc::new(RefCell::new(None));
        let stand_in = StandIn { is_woken: is_woken.clone(), waker: slot.clone() };
        let handle = Scheduler::spawn(scheduler, stand_in, None);
        // This may happen inside of a task of another executor, whose budget it is.
        let (task, budget) = context::with(|now| (now.task.get(), now.budget.get()));
        assert!(scheduler.run_one(), "the stand-in is the first task");
        context::with(|now| {
            now.task.set(task);
            now.budget.set(budget);
        });
        let Some(waker) = slot.take() else { unreachable!("the stand-in was polled just now") };
        Root { is_woken, waker, task: handle.id().0, _stand_in: handle }
    }
}

impl Executor {
    /// An executor for the calling thread that waits in `park`.
    pub fn new(park: Box<dyn Park>, config: Config) -> Executor {
        let bell = Arc::new(Bell::new(park.unparker()));
        let scheduler = Scheduler::new(bell.clone());
        let root = Root::new(&scheduler);
        let Config { event_interval, idle, blocking_threads, blocking_here, clock, drain_timeout, pool } =
            config;
        let services = Services {
            scheduler,
            timers: Rc::new(Timers::new(clock)),
            mailbox: Arc::new(Mailbox::new(bell.clone())),
            pool: pool.unwrap_or_else(|| Pool::new(if blocking_here { 0 } else { blocking_threads.max(1) })),
            stop: Rc::default(),
            parks: Cell::new(0),
            looks: Cell::new(0),
        };
        Executor {
            services: Rc::new(services),
            bell,
            park: RefCell::new(park),
            waiting: RefCell::new(Waiting::new(idle)),
            event_interval: event_interval.max(1),
            drain_timeout,
            root,
        }
    }

    /// Runs `future` to its end, and the tasks meanwhile.
    ///
    /// Tasks that are not finished by then stay, and go on with the next `block_on`.
    ///
    /// # Panics
    /// If the thread runs an executor already, with the panic of `future`, or if the park fails.
    ///
    /// # Examples
    /// ```
    /// use coronet_exec::{Config, Executor, ThreadPark, spawn};
    ///
    /// let executor = Executor::new(Box::new(ThreadPark::new()), Config::default());
    /// let sum = executor.block_on(async {
    ///     let one = spawn(async { 1 });
    ///     one.await.unwrap() + 2
    /// });
    /// assert_eq!(sum, 3);
    /// ```
    #[track_caller]
    pub fn block_on<F: Future>(&self, future: F) -> F::Output {
        let Some(_entered) = self.enter() else {
            panic!(
                "block_on inside of block_on: this thread already runs an executor. Await the \
                 future, or spawn it, instead of blocking the core"
            )
        };
        let mut future = pin!(future);
        let mut cx = Context::from_waker(&self.root.waker);
        // A wake of an earlier root that nobody looked at may have raised the flag: harmless.
        self.root.is_woken.set(true);
        loop {
            let mut left = self.event_interval;
            loop {
                if self.root.is_woken.replace(false) {
                    budget::start(self.root.task);
                    if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                        return output;
                    }
                }
                if left == 0 || !self.services.scheduler.run_one() {
                    break;
                }
                left -= 1;
            }
            self.look_around();
        }
    }

    /// One tick, for whoever runs several executors on one thread: lets what can run do so once
    /// around, fires timers, hands over and collects, and does not sleep. Whether anything ran, or
    /// can run now.
    ///
    /// # Panics
    /// If the thread runs an executor already, or if the park fails.
    pub fn turn(&self) -> bool {
        let Some(_entered) = self.enter() else {
            panic!("an executor is turned inside of another one, which this thread runs already")
        };
        self.bell.rise();
        let services = &*self.services;
        self.collect();
        services.timers.fire();
        let mut has_run = false;
        for _ in 0..self.event_interval {
            if !services.scheduler.run_one() {
                break;
            }
            has_run = true;
        }
        context::with(|context| context.task.set(0));
        services.looks.set(services.looks.get() + 1);
        self.park.borrow_mut().park(Some(Duration::ZERO)).unwrap_or_else(|error| park_failed(&error));
        self.collect();
        services.timers.fire();
        has_run || services.scheduler.has_runnable()
    }

    /// Says that whoever turns this executor is about to wait for its park in a way of its own. True if it
    /// may: then whatever comes until the next turn, from any thread, unparks. False if something can run
    /// or be collected now, and it has to be turned first.
    pub fn doze(&self) -> bool {
        self.bell.doze();
        // Behind the doze, as in `look_around`: who came before it has rung nobody.
        let has_work = self.can_run() || self.park.borrow().has_pending();
        if has_work {
            self.bell.rise();
        }
        !has_work
    }

    /// Whether a task can run now, as far as the executor knows: its park may know more. For whoever turns it.
    pub fn can_run(&self) -> bool {
        let Services { scheduler, mailbox, .. } = &*self.services;
        scheduler.has_runnable() || scheduler.has_remote() || mailbox.has_jobs()
    }

    /// When the next timer is due; for whoever turns this executor.
    pub fn next_timer(&self) -> Option<Instant> {
        self.services.timers.next()
    }

    /// The second half of a tick: other threads' wakes, timers, events; sleep if nothing runs.
    fn look_around(&self) {
        let services = &*self.services;
        context::with(|context| context.task.set(0));
        self.collect();
        services.timers.fire();
        if services.scheduler.has_runnable() {
            let mut park = self.park.borrow_mut();
            if park.has_pending() {
                services.looks.set(services.looks.get() + 1);
                park.park(Some(Duration::ZERO)).unwrap_or_else(|error| park_failed(&error));
            }
            return;
        }
        let wait =
            if services.timers.clock().is_virtual() { None } else { self.waiting.borrow_mut().begin() };
        if wait.is_some_and(|(began, window)| self.look_on(began, window)) {
            self.waiting.borrow_mut().end(false);
            return;
        }
        self.bell.doze();
        if services.scheduler.has_remote() || services.mailbox.has_jobs() {
            self.bell.rise();
            return;
        }
        services.parks.set(services.parks.get() + 1);
        let parked = self.park.borrow_mut().park(self.sleep_limit());
        self.bell.rise();
        parked.unwrap_or_else(|error| park_failed(&error));
        self.waiting.borrow_mut().end(true);
        self.collect();
        services.timers.fire();
    }

    /// Waits awake for `window`; whether anything can run now. Not asleep, so a wake from another core needs
    /// no system call either.
    fn look_on(&self, began: std::time::Instant, window: Duration) -> bool {
        let services = &*self.services;
        services.looks.set(services.looks.get() + 1);
        loop {
            // The first time it hands over what waits; after that, a look at memory until something is there.
            self.park.borrow_mut().park(Some(Duration::ZERO)).unwrap_or_else(|error| park_failed(&error));
            self.collect();
            services.timers.fire();
            if services.scheduler.has_runnable() {
                return true;
            }
            if began.elapsed() >= window {
                return false;
            }
            std::hint::spin_loop();
        }
    }

    /// How long the core may sleep.
    fn sleep_limit(&self) -> Option<Duration> {
        let timers = &self.services.timers;
        let next = timers.next()?;
        if timers.clock().is_virtual() && self.services.pool.is_busy() {
            // A thread works for us in real time, so virtual time stands still. Its result
            // ends the sleep.
            return None;
        }
        // Fired just now, so the clock was read just now.
        Some(next - timers.seen())
    }

    /// Takes in what other threads have sent.
    fn collect(&self) {
        let services = &*self.services;
        if services.scheduler.has_remote() {
            services.scheduler.collect_remote();
        }
        if services.mailbox.has_jobs() {
            let jobs: VecDeque<_> = services.mailbox.take();
            for job in jobs {
                job();
            }
        }
    }

    fn enter(&self) -> Option<context::Entered> {
        context::enter(Scheduler::address(&self.services.scheduler), self.services.clone())
    }

    /// Spawns a task from outside; it runs during `block_on` or [`turn`](Executor::turn).
    ///
    /// # Cancellation
    /// Dropping the handle detaches the task, which goes on.
    pub fn spawn<F>(&self, future: F) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let handle = self.services.spawn(future, None);
        self.services.scheduler.announce();
        handle
    }

    /// Whether the calling thread runs an executor.
    pub fn is_running_here() -> bool {
        context::with_services(|services| services.is_some())
    }

    /// What the core has done so far.
    pub fn stats(&self) -> Stats {
        self.services.stats()
    }

    /// The door of this core.
    pub(crate) fn mailbox(&self) -> Arc<Mailbox> {
        self.services.mailbox.clone()
    }
}

#[cold]
fn park_failed(error: &std::io::Error) {
    panic!("the core cannot wait for events any more: {error}")
}

impl Drop for Executor {
    fn drop(&mut self) {
        // Without a context if another executor is current on this thread: then the
        // destructors of our tasks see that one. Everything here is safe in both cases.
        let entered = self.enter();
        // Cells that outlive the core must not point to it, also if a destructor below panics:
        // so this goes last, and goes in any case. [home-alive]
        let orphans = Orphans(&self.services.scheduler);
        // Each in its own step: a panic in a destructor of the user skips none of the others.
        let jobs = catch(|| self.services.mailbox.close());
        let tasks = catch(|| self.services.scheduler.close());
        let park = catch(|| self.park.get_mut().shut_down(self.drain_timeout));
        drop(entered);
        drop(orphans);
        if let Some(panic) = jobs.err().or(tasks.err()).or(park.err())
            && !std::thread::panicking()
        {
            std::panic::resume_unwind(panic);
        }
    }
}

/// Cuts the ties of all cells to their scheduler when it is dropped.
struct Orphans<'a>(&'a Arc<Scheduler>);

impl Drop for Orphans<'_> {
    fn drop(&mut self) {
        Scheduler::orphan_all(self.0);
    }
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
