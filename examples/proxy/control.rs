//! The process: from its start over its signals to its end. It runs on the main thread, on a core of its own.

use std::fmt;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::num::NonZeroUsize;
use std::process::Child;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use coronet::net::ListenOptions;
use coronet::signal::{Signal, ctrl_c, hangup, terminate, user2};
use coronet::sync::Notify;
use coronet::{Cores, Running, Runtime};
use futures_util::FutureExt;
use futures_util::future::{Either, select};
use rustix::process::{Resource, Rlimit, getpid, getrlimit, setrlimit};

use crate::config::{self, Settings, Wrong};
use crate::handover::{self, HandOver};
use crate::listeners::shares;
use crate::metrics::{self, Failure};
use crate::options::Options;
use crate::serve::serve;
use crate::shared::{Shared, complain};
use crate::upkeep;

/// Why the process ends with a complaint.
pub(crate) enum Trouble {
    /// The configuration: nothing was tried.
    Wrong(Wrong),
    /// The system.
    Failed(io::Error),
}

impl Trouble {
    /// The exit code.
    pub(crate) fn code(&self) -> i32 {
        match self {
            Self::Wrong(_) => 2,
            Self::Failed(_) => 1,
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Wrong(wrong) => wrong.fmt(f),
            Self::Failed(error) => error.fmt(f),
        }
    }
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Failed(error)
    }
}

/// Descriptors beside those of connections: rings, listeners, timers, resolvers.
const OTHER_DESCRIPTORS: u64 = 128;
/// Beyond the drain, for what ends a core.
const GRACE: Duration = Duration::from_secs(5);

/// Runs the proxy until it is told to end, and has drained.
///
/// # Errors
/// What keeps it from starting, or from going on.
pub(crate) fn run(options: &Options) -> Result<(), Trouble> {
    let settings = config::load(options.config.as_deref(), &options.keys).map_err(Trouble::Wrong)?;
    let inherited = handover::inherit(settings.listen)?;
    let builder = Runtime::builder().backend(settings.backend);
    let front = builder.clone().build()?;
    let cores =
        settings.cores.map_or_else(available_parallelism, |cores| Ok(NonZeroUsize::from(cores)))?.get();
    let shared = Shared::new(settings.clone(), connections_max());

    let listeners = match &inherited.listeners[..] {
        [] => ListenOptions::default().bind_group(settings.listen, cores)?,
        listeners => listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
    };
    let metrics = match (&inherited.metrics, settings.metrics) {
        (_, None) => None,
        (Some(listener), Some(_)) => Some(listener.try_clone()?),
        (None, Some(address)) => Some(ListenOptions::default().bind_group(address, 1)?.remove(0)),
    };
    let address = listeners[0].local_addr()?;
    let metrics_address = metrics.as_ref().map(TcpListener::local_addr).transpose()?;
    // Before anybody can know that we run: a signal that comes early would kill us.
    let signals = Signals { end: [ctrl_c(), terminate()], reload: hangup(), hand_over: user2() };
    if let Some(error) = front.block_on(upkeep::resolve_once(&shared)).pop() {
        return Err(error.into());
    }

    let hand_over = HandOver::new(&listeners, metrics.as_ref())?;
    let shares = Arc::new(Mutex::new(shares(listeners, cores)?));
    let of_cores = shared.clone();
    let running = Cores::count(cores).builder(builder).start(move |core| {
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken, not cloned: as long as a clone is open, the kernel goes on listening.
        let listeners = std::mem::take(&mut shares[core.index()]);
        serve(core, listeners, of_cores.clone())
    })?;
    let line = start_line(address, &front.backend().to_string(), cores, metrics_address, &settings);
    writeln!(io::stdout(), "{line}")?;
    inherited.take_over();
    drop(inherited);

    let control = Control { options, shared, hand_over: Some(hand_over), has_successor: Arc::default() };
    front.block_on(control.run(running, signals, metrics)).map_err(Trouble::Failed)
}

/// As many as there are descriptors for, two each; after raising the soft limit to the hard one.
fn connections_max() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
        if setrlimit(Resource::Nofile, raised).is_ok() {
            limit = raised;
        }
    }
    let connections = limit.current.map_or(u64::MAX, |limit| limit.saturating_sub(OTHER_DESCRIPTORS) / 2);
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

fn start_line(
    address: SocketAddr,
    backend: &str,
    cores: usize,
    metrics: Option<SocketAddr>,
    settings: &Settings,
) -> String {
    let cores = if cores == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    let metrics = metrics.map(|address| format!(", metrics on {address}")).unwrap_or_default();
    let pid = getpid();
    format!("proxy on {address}, {backend}, {cores}, to {}{metrics}, pid {pid}", settings.to.join(" "))
}

struct Signals {
    end: [Signal; 2],
    reload: Signal,
    hand_over: Signal,
}

struct Control<'a> {
    options: &'a Options,
    shared: Arc<Shared>,
    /// Dropped when the process stops listening.
    hand_over: Option<HandOver>,
    /// A successor was started and has not failed.
    has_successor: Arc<AtomicBool>,
}

impl Control<'_> {
    async fn run(
        mut self,
        running: Running<io::Result<()>>,
        signals: Signals,
        metrics: Option<TcpListener>,
    ) -> io::Result<()> {
        let (resolve, check) = (Rc::new(Notify::new()), Rc::new(Notify::new()));
        coronet::spawn({
            let (shared, reloaded) = (self.shared.clone(), resolve.clone());
            async move { upkeep::resolve(shared, &reloaded).await }
        });
        coronet::spawn({
            let (shared, reloaded) = (self.shared.clone(), check.clone());
            async move { upkeep::check(shared, &reloaded).await }
        });
        let page = metrics
            .map(|listener| coronet::spawn(metrics::serve(listener.into(), self.shared.metrics.clone())));

        let [mut interrupted, mut terminated] = signals.end;
        let (mut reload, mut hand_over) = (signals.reload, signals.hand_over);
        loop {
            futures_util::select_biased! {
                ended = (&mut interrupted).fuse() => { ended?; break }
                ended = (&mut terminated).fuse() => { ended?; break }
                asked = (&mut reload).fuse() => {
                    asked?;
                    self.reload();
                    resolve.notify_one();
                    check.notify_one();
                }
                asked = (&mut hand_over).fuse() => { asked?; self.start_successor(); }
            }
        }

        let limit = self.shared.settings().drain_timeout;
        running.shutdown(limit + GRACE);
        self.hand_over = None;
        if self.has_successor.load(Ordering::Relaxed)
            && let Some(page) = page
        {
            // Who scrapes wants to hear of the one that goes on.
            page.abort();
        }
        let joined = coronet::task::spawn_blocking(move || running.join());
        let results = match select(joined, select(interrupted, terminated)).await {
            Either::Left((results, _)) => results.map_err(|error| io::Error::other(error.to_string()))?,
            Either::Right(_) => return Err(io::Error::other("a second signal cut what was still open")),
        };
        for result in results {
            result.map_err(|error| io::Error::other(error.to_string()))??;
        }
        match self.shared.metrics.failures(Failure::cut) {
            0 => {}
            1 => complain(&format!("1 connection was cut after {limit:?}")),
            count => complain(&format!("{count} connections were cut after {limit:?}")),
        }
        Ok(())
    }

    /// Puts the configuration file in force as it is now, or says what is wrong and goes on as before.
    fn reload(&self) {
        let settings = match config::load(self.options.config.as_deref(), &self.options.keys) {
            Ok(settings) => settings,
            Err(wrong) => {
                self.shared.metrics.reloads_failed.inc();
                return complain(&format!("{wrong}; the old configuration stays"));
            }
        };
        let differ = self.shared.settings().fixed_that_differ(&settings);
        if !differ.is_empty() {
            complain(&format!("{} changed, which takes a new process", differ.join(", ")));
        }
        self.shared.set_settings(settings);
    }

    /// Starts a successor, unless one is starting.
    fn start_successor(&self) {
        let Some(hand_over) = &self.hand_over else { return };
        if self.has_successor.swap(true, Ordering::Relaxed) {
            return complain("a successor was started already");
        }
        match hand_over.start_successor() {
            Ok(successor) => watch(successor, self.has_successor.clone()),
            Err(error) => {
                self.has_successor.store(false, Ordering::Relaxed);
                complain(&format!("no successor could be started: {error}"));
            }
        }
    }
}

/// Notices a successor that ends before this process does: then there is none.
fn watch(mut successor: Child, has_successor: Arc<AtomicBool>) {
    let watching = std::thread::Builder::new().name("proxy-successor".to_owned()).spawn(move || {
        if let Ok(status) = successor.wait() {
            has_successor.store(false, Ordering::Relaxed);
            complain(&format!("the successor ended ({status}); this process goes on"));
        }
    });
    if let Err(error) = watching {
        complain(&format!("the successor is not watched: {error}"));
    }
}
