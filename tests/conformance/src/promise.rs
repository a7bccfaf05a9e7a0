//! One promise: a body, and where and how often it runs.

use std::future::Future;
use std::pin::Pin;

use crate::kernel::Kernel;

/// A body at work.
pub(crate) type Body = Pin<Box<dyn Future<Output = ()>>>;

/// A sentence that holds on every kernel.
#[derive(Clone, Copy)]
pub struct Promise {
    family: &'static str,
    name: &'static str,
    body: fn(Kernel) -> Body,
    real_only: bool,
    every: u64,
    entries: u32,
    leaves: bool,
    leaks: usize,
}

impl Promise {
    /// On every kernel, and nothing is left in flight when it ends.
    pub(crate) const fn new(family: &'static str, name: &'static str, body: fn(Kernel) -> Body) -> Self {
        Self { family, name, body, real_only: false, every: 1, entries: 256, leaves: false, leaks: 0 }
    }

    /// Needs threads, which the simulation does not know.
    pub(crate) const fn real_only(self) -> Self {
        Self { real_only: true, ..self }
    }

    /// In the simulation under every so many-th seed: it takes longer than the others.
    pub(crate) const fn every(self, seeds: u64) -> Self {
        Self { every: seeds, ..self }
    }

    /// On real kernels with a submission queue of this size.
    pub(crate) const fn entries(self, entries: u32) -> Self {
        Self { entries, ..self }
    }

    /// Ends with tasks and operations under way, for the end of the runtime to deal with.
    pub(crate) const fn leaves(self) -> Self {
        Self { leaves: true, ..self }
    }

    /// In the simulation so many operations may be leaked on purpose, each with its descriptor.
    pub(crate) const fn leaks(self, operations: usize) -> Self {
        Self { leaks: operations, ..self }
    }

    /// Family and name, as in `cancel::a_sentence`.
    pub fn path(&self) -> String {
        let family = self.family.rsplit("::").next().unwrap_or(self.family);
        format!("{family}::{}", self.name)
    }

    /// Starts the body.
    pub(crate) fn start(&self, kernel: Kernel) -> Body {
        (self.body)(kernel)
    }

    /// True if the simulated kernel runs it under this seed.
    pub fn runs_under(&self, seed: u64) -> bool {
        !self.real_only && seed.is_multiple_of(self.every)
    }

    /// True if only a real kernel runs it.
    pub fn is_real_only(&self) -> bool {
        self.real_only
    }

    pub(crate) fn queue_entries(&self) -> u32 {
        self.entries
    }

    pub(crate) fn leaked_max(&self) -> usize {
        self.leaks
    }

    pub(crate) fn leaves_work(&self) -> bool {
        self.leaves
    }
}

/// The promise that the async function of this name keeps.
macro_rules! promise {
    ($body:ident) => {
        $crate::promise::Promise::new(module_path!(), stringify!($body), |kernel| Box::pin($body(kernel)))
    };
}
pub(crate) use promise;
