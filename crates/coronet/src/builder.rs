//! How a runtime is set up.

use std::io;
use std::time::Duration;

use coronet_ring::Config as RingConfig;

pub use coronet_exec::Idle;
pub use coronet_ring::Preference as Backend;

/// The variable that overrides [`Backend::Auto`].
const BACKEND_VARIABLE: &str = "CORONET_BACKEND";

/// Sets up a `Runtime`, or each core of `Cores`.
///
/// The first one that is set up raises the process's soft limit of open files (`RLIMIT_NOFILE`) to the
/// hard one: a server needs a descriptor per client.
#[derive(Clone, Debug)]
#[must_use]
pub struct Builder {
    ring: RingConfig,
    exec: coronet_exec::Config,
}

impl Default for Builder {
    fn default() -> Self {
        let ring = RingConfig::default();
        let mut exec = coronet_exec::Config::default();
        exec.drain_timeout = ring.drain_timeout;
        Self { ring, exec }
    }
}

impl Builder {
    /// The backend; [`Backend::Auto`] by default: io_uring where it works, else epoll. The environment variable `CORONET_BACKEND`
    /// (`auto`, `uring` or `epoll`) overrides `Auto`, and nothing else.
    pub fn backend(mut self, backend: Backend) -> Self {
        self.ring.backend = backend;
        self
    }

    /// Entries of the submission queue, 8 to 32,768; 256 by default. The completion queue has at
    /// least four times as many, and from 64 on at least 16,384, which are 256 KiB of the kernel's memory.
    pub fn entries(mut self, entries: u32) -> Self {
        self.ring.entries = entries;
        self
    }

    /// Whether the ring is restricted, for good, to the operations and registrations that Coronet uses;
    /// it is not by default. Whoever gets hold of its descriptor or its memory can then have the
    /// kernel do no more than that: filters of system calls do not see what a ring does.
    ///
    /// What it refuses fails with `EACCES`. On epoll there is no ring to restrict.
    pub fn restrict(mut self, restrict: bool) -> Self {
        self.ring.restrict = restrict;
        self
    }

    /// How many tasks run before the core looks for completions; 61 by default.
    pub fn event_interval(mut self, tasks: u32) -> Self {
        self.exec.event_interval = tasks;
        self
    }

    /// What a core does while nothing can run: sleep at once (the default), or look on for a while, which
    /// costs CPU time and saves the wake-up. See `docs/BENCHMARKS.md` for what each costs and brings.
    pub fn idle(mut self, idle: Idle) -> Self {
        self.exec.idle = idle;
        self
    }

    /// How many threads `spawn_blocking` may use at once; 64 by default.
    pub fn blocking_threads(mut self, threads: usize) -> Self {
        self.exec.blocking_threads = threads;
        self
    }

    /// How long the end of the runtime may wait for the kernel to give everything back; 5 s by
    /// default. What it has not given back by then is leaked, never freed.
    pub fn drain_timeout(mut self, timeout: Duration) -> Self {
        self.ring.drain_timeout = timeout;
        self.exec.drain_timeout = timeout;
        self
    }

    pub(crate) fn ring_config(&self) -> io::Result<RingConfig> {
        let mut ring = self.ring;
        if ring.backend == Backend::Auto
            && let Some(name) = std::env::var_os(BACKEND_VARIABLE)
        {
            let name = name.to_string_lossy();
            ring.backend = name.parse().map_err(|error: io::Error| {
                io::Error::new(error.kind(), format!("environment variable {BACKEND_VARIABLE}: {error}"))
            })?;
        }
        Ok(ring)
    }

    pub(crate) fn exec_config(&self) -> coronet_exec::Config {
        self.exec.clone()
    }
}
