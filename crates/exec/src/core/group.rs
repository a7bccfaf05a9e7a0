//! Starts one thread and one executor per core; stops them; carries their panics.
//!
//! A start is all or nothing: every core makes its park and reports; only when all have
//! succeeded does any of them run the user's code.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::pin,
    rc::Rc,
    sync::{Arc, mpsc},
    task::Poll,
    thread,
    time::Duration,
};

use super::{affinity, handle::CoreHandle};
use crate::{
    blocking::Pool,
    executor::{Config, Executor},
    mailbox::Mailbox,
    park::Park,
    services::{self, Stop},
    task::{JoinError, catch},
    tasks,
    time::sleep,
};

/// Number of a core within its group, from zero.
pub type CoreIndex = usize;

/// How many cores, and how they are set up.
///
/// # Examples
/// ```
/// use coronet_exec::{Cores, ThreadPark};
///
/// let running = Cores::count(2)
///     .start_with(|_| Ok(Box::new(ThreadPark::new())), |core| async move { core.index() })
///     .unwrap();
/// let indices: Vec<_> = running.join().into_iter().map(Result::unwrap).collect();
/// assert_eq!(indices, [0, 1]);
/// ```
#[derive(Clone, Debug)]
pub struct Cores {
    /// `None`: as many as the process may use.
    count: Option<usize>,
    is_pinned: bool,
    config: Config,
}

impl Cores {
    /// One core per CPU that the process may use.
    pub fn all() -> Cores {
        Cores { count: None, is_pinned: true, config: Config::default() }
    }

    /// `count` cores, at least one. More than there are CPUs share them in turn.
    pub fn count(count: usize) -> Cores {
        Cores { count: Some(count.max(1)), ..Cores::all() }
    }

    /// Whether each thread keeps to its own CPU. Default: yes.
    #[must_use]
    pub fn pinned(mut self, is_pinned: bool) -> Cores {
        self.is_pinned = is_pinned;
        self
    }

    /// How each core's executor works.
    #[must_use]
    pub fn config(mut self, config: Config) -> Cores {
        self.config = config;
        self
    }

    /// Starts the cores: each makes its park with `make_park`, on its own thread, and runs the
    /// future that `main` makes there.
    ///
    /// # Errors
    /// If a thread cannot be started or pinned, or a park cannot be made. Then no core has run
    /// `main`, and all threads have ended.
    pub fn start_with<P, M, F>(self, make_park: P, main: M) -> io::Result<Running<F::Output>>
    where
        P: Fn(CoreIndex) -> io::Result<Box<dyn Park>> + Send + Clone + 'static,
        M: Fn(Core) -> F + Send + Clone + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        self.start_guarded(move |index| make_park(index).map(|park| (park, ())), main)
    }

    /// As [`Cores::start_with`], with a guard that lives on the core's thread as long as its
    /// executor, and is dropped after it.
    ///
    /// # Errors
    /// As for [`Cores::start_with`].
    pub fn start_guarded<P, G, M, F>(self, make_park: P, main: M) -> io::Result<Running<F::Output>>
    where
        P: Fn(CoreIndex) -> io::Result<(Box<dyn Park>, G)> + Send + Clone + 'static,
        G: 'static,
        M: Fn(Core) -> F + Send + Clone + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let cpus = affinity::allowed()?;
        let count = self.count.unwrap_or(cpus.len());
        let mut config = self.config;
        config.pool.get_or_insert_with(|| Pool::new(config.blocking_threads.max(1)));

        let (report, reports) = mpsc::channel();
        let mut starts = Vec::new();
        let mut threads = Vec::new();
        let mut failed = None;
        for index in 0..count {
            let (start, started) = mpsc::channel::<Arc<[CoreHandle]>>();
            let cpu = self.is_pinned.then(|| cpus[index % cpus.len()]);
            let seed = Seed { index, cpu, config: config.clone() };
            let (report, make_park, main) = (report.clone(), make_park.clone(), main.clone());
            let spawned = thread::Builder::new()
                .name(format!("coronet-{index}"))
                .spawn(move || seed.grow(&make_park, &main, &report, &started));
            match spawned {
                Ok(thread) => {
                    starts.push(start);
                    threads.push(thread);
                }
                Err(error) => {
                    failed = Some(error);
                    break;
                }
            }
        }
        drop(report);

        let mut mailboxes: Vec<Option<Arc<Mailbox>>> = vec![None; threads.len()];
        for _ in 0..threads.len() {
            // A core that panics before it reports just hangs up.
            let Ok((index, result)) = reports.recv() else { break };
            match result {
                Ok(mailbox) => mailboxes[index] = Some(mailbox),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        let handles: Option<Arc<[CoreHandle]>> = mailboxes
            .into_iter()
            .enumerate()
            .map(|(index, mailbox)| Some(CoreHandle::new(index, mailbox?)))
            .collect();
        match (failed, handles) {
            (None, Some(handles)) => {
                for start in starts {
                    // Fails only if the thread is gone; then joining it tells.
                    let _ = start.send(handles.clone());
                }
                Ok(Running { threads, handles })
            }
            (failed, _) => {
                // Hanging up tells the cores that there is no start.
                drop(starts);
                for thread in threads {
                    let _ = thread.join();
                }
                Err(failed.unwrap_or_else(|| io::Error::other("a core panicked while it made its park")))
            }
        }
    }
}

/// What a core's thread is started with.
struct Seed {
    index: CoreIndex,
    cpu: Option<usize>,
    config: Config,
}

type Report = mpsc::Sender<(CoreIndex, io::Result<Arc<Mailbox>>)>;

impl Seed {
    /// The life of a core's thread; `None` if the group does not start.
    fn grow<G, F: Future + 'static>(
        self,
        make_park: &impl Fn(CoreIndex) -> io::Result<(Box<dyn Park>, G)>,
        main: &impl Fn(Core) -> F,
        report: &Report,
        started: &mpsc::Receiver<Arc<[CoreHandle]>>,
    ) -> Option<Result<F::Output, JoinError>> {
        let index = self.index;
        let made = self.cpu.map_or(Ok(()), affinity::pin).and_then(|()| make_park(index));
        let (park, guard) = match made {
            Ok(made) => made,
            Err(error) => {
                let _ = report.send((index, Err(error)));
                return None;
            }
        };
        let executor = Executor::new(park, self.config);
        let _ = report.send((index, Ok(executor.mailbox())));
        let result = started.recv().ok().map(|handles| run(&executor, index, handles, main));
        drop(executor);
        drop(guard);
        result
    }
}

/// Runs `main` on this thread's core, until it ends or is told to stop for good.
fn run<F: Future + 'static>(
    executor: &Executor,
    index: CoreIndex,
    handles: Arc<[CoreHandle]>,
    main: &impl Fn(Core) -> F,
) -> Result<F::Output, JoinError> {
    let ran = catch(|| {
        executor.block_on(async {
            let stop = services::expect("a core", |services| services.stop.clone());
            let core = Core { index, handles, stop: stop.clone() };
            let mut main = pin!(main(core));
            let mut killed = pin!(stop.killed.wait());
            poll_fn(|cx| {
                // Killed first: a main that is always ready must not go on forever.
                if killed.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Err(JoinError::cancelled()));
                }
                main.as_mut().poll(cx).map(Ok)
            })
            .await
        })
    });
    ran.unwrap_or_else(|panic| Err(JoinError::panic(panic)))
}

/// What the main future of a core knows of its core and the others.
#[derive(Clone)]
pub struct Core {
    index: CoreIndex,
    handles: Arc<[CoreHandle]>,
    stop: Rc<Stop>,
}

impl Core {
    /// The number of this core, from zero.
    pub fn index(&self) -> CoreIndex {
        self.index
    }

    /// How many cores the group has.
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// The handle of a core, this one included.
    ///
    /// # Panics
    /// If there is no core `index`.
    #[track_caller]
    pub fn handle(&self, index: CoreIndex) -> CoreHandle {
        self.handles[index].clone()
    }

    /// Waits until [`Running::shutdown`] is called. From then on it resolves at once.
    ///
    /// # Cancellation
    /// Safe. Nothing is held.
    pub async fn shutdown_requested(&self) {
        self.stop.requested.wait().await;
    }

    /// Whether [`Running::shutdown`] was called.
    pub fn is_shutdown_requested(&self) -> bool {
        self.stop.requested.is_set()
    }
}

impl fmt::Debug for Core {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Core")
            .field("index", &self.index)
            .field("count", &self.count())
            .finish_non_exhaustive()
    }
}

/// A group of cores that run.
///
/// Dropping it lets them run on, unwatched.
#[must_use = "dropping Running detaches the cores; join it"]
pub struct Running<T> {
    threads: Vec<thread::JoinHandle<Option<Result<T, JoinError>>>>,
    handles: Arc<[CoreHandle]>,
}

impl<T> Running<T> {
    /// Waits for the main futures of all cores, in the order of the cores.
    ///
    /// A main that panicked, or was dropped by a shutdown, is an error in its place.
    pub fn join(self) -> Vec<Result<T, JoinError>> {
        let result = |thread: thread::JoinHandle<Option<Result<T, JoinError>>>| match thread.join() {
            Ok(result) => result.unwrap_or_else(|| Err(JoinError::cancelled())),
            Err(panic) => Err(JoinError::panic(panic)),
        };
        self.threads.into_iter().map(result).collect()
    }

    /// The handle of core `index`.
    ///
    /// # Panics
    /// If there is no such core.
    #[track_caller]
    pub fn handle(&self, index: CoreIndex) -> CoreHandle {
        self.handles[index].clone()
    }

    /// How many cores there are.
    pub fn count(&self) -> usize {
        self.handles.len()
    }

    /// Asks all cores to end, and returns at once; [`Running::join`] waits for it.
    ///
    /// Main futures see [`Core::shutdown_requested`]. One that has not ended after `grace` is
    /// dropped, with all tasks of its core. A main that ends earlier does not wait.
    pub fn shutdown(&self, grace: Duration) {
        for handle in self.handles.iter() {
            handle.run(move || {
                let stop = services::expect("a core", |services| services.stop.clone());
                stop.requested.set();
                // Each call has its own deadline; the earliest wins.
                drop(tasks::spawn(async move {
                    sleep(grace).await;
                    stop.killed.set();
                }));
            });
        }
    }
}

impl<T> fmt::Debug for Running<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Running").field("cores", &self.handles.len()).finish_non_exhaustive()
    }
}
