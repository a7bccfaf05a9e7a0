//! What a task finds on its core: the scheduler, the timers, the mailbox, the blocking pool.
//!
//! One [`Services`] per executor. `context.rs` holds the current one without knowing its
//! type; the functions here give it back.

use std::{any::Any, rc::Rc, sync::Arc};

use crate::{
    blocking::Pool,
    context,
    mailbox::Mailbox,
    stats::Stats,
    sync::Event,
    task::{JoinHandle, Scheduler},
    timer::Timers,
};

pub(crate) struct Services {
    pub(crate) scheduler: Arc<Scheduler>,
    pub(crate) timers: Rc<Timers>,
    pub(crate) mailbox: Arc<Mailbox>,
    pub(crate) pool: Arc<Pool>,
    pub(crate) stop: Rc<Stop>,
    pub(crate) parks: std::cell::Cell<u64>,
    pub(crate) looks: std::cell::Cell<u64>,
}

/// How a core of a group is told to stop.
#[derive(Default)]
pub(crate) struct Stop {
    /// Asked to end.
    pub(crate) requested: Event,
    /// Its time is up.
    pub(crate) killed: Event,
}

impl Services {
    pub(crate) fn spawn<F>(&self, future: F, name: Option<&str>) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        Scheduler::spawn(&self.scheduler, future, name)
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut stats = Stats {
            parks: self.parks.get(),
            looks: self.looks.get(),
            timers_alive: self.timers.alive(),
            ..Stats::default()
        };
        self.scheduler.add_stats(&mut stats);
        stats
    }
}

/// Gives `f` the services of the current core, if there is one.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(Option<&Services>) -> R) -> R {
    context::with_services(|services: Option<&Rc<dyn Any>>| {
        f(services.and_then(|services| services.downcast_ref::<Services>()))
    })
}

/// Gives `f` the services of the current core.
///
/// # Panics
/// Outside of a core, naming `what` needs one.
#[inline]
#[track_caller]
pub(crate) fn expect<R>(what: &str, f: impl FnOnce(&Services) -> R) -> R {
    // Not in a closure, so that the panic shows the caller's line.
    match with(|services| services.map(f)) {
        Some(result) => result,
        None => no_core(what),
    }
}

#[cold]
#[track_caller]
fn no_core(what: &str) -> ! {
    panic!("{what} needs a running executor: call it inside of `block_on`")
}

/// The counters of the current core, if there is one.
pub fn stats() -> Option<Stats> {
    with(|services| services.map(Services::stats))
}
