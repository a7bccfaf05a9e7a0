//! One runtime per core.

use std::future::Future;
use std::io;

use coronet_exec::{Core, Park, Running};
use coronet_io::context;

use crate::builder::Builder;
use crate::park::DriverPark;

/// Threads that each have a ring and an executor of their own.
///
/// # Examples
/// ```
/// use coronet::Cores;
///
/// # fn main() -> std::io::Result<()> {
/// let running = Cores::count(2).pinned(false).start(|core| async move { core.index() * 10 })?;
/// let results: Vec<_> = running.join().into_iter().map(Result::unwrap).collect();
/// assert_eq!(results, [0, 10]);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Cores {
    cores: coronet_exec::Cores,
    builder: Builder,
}

impl Cores {
    /// One core for each CPU that the process may use.
    pub fn all() -> Self {
        Self { cores: coronet_exec::Cores::all(), builder: Builder::default() }
    }

    /// `count` cores, at least one. More than there are CPUs share them in turn.
    pub fn count(count: usize) -> Self {
        Self { cores: coronet_exec::Cores::count(count), builder: Builder::default() }
    }

    /// Whether each thread keeps to its own CPU; it does by default.
    pub fn pinned(self, pinned: bool) -> Self {
        Self { cores: self.cores.pinned(pinned), ..self }
    }

    /// How each core is set up.
    pub fn builder(self, builder: Builder) -> Self {
        Self { builder, ..self }
    }

    /// Starts the cores. `main` is called once on each; its future never leaves that core, so it
    /// may be `!Send`.
    ///
    /// # Errors
    /// If a thread cannot be started or pinned, or no ring can be had on one of them: then no
    /// core has run `main`.
    pub fn start<M, F>(self, main: M) -> io::Result<Running<F::Output>>
    where
        M: Fn(Core) -> F + Send + Clone + 'static,
        F: Future + 'static,
        F::Output: Send + 'static,
    {
        let ring = self.builder.ring_config()?;
        let make_park = move |_| {
            let (park, context) = DriverPark::new(ring)?;
            Ok((Box::new(park) as Box<dyn Park>, context::enter(context)))
        };
        self.cores.config(self.builder.exec_config()).start_guarded(make_park, main)
    }
}
