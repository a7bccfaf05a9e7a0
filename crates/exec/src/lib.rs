//! Tasks, timers, cores and mailboxes: the executor of Coronet, without any I/O.
//!
//! One [`Executor`] per core runs tasks that never leave it: futures may be `!Send`, a wake on the
//! same core is plain arithmetic, and cores talk through mailboxes only. What it does when
//! nothing can run is behind one trait, [`Park`]: an I/O driver implements it, and
//! [`ThreadPark`] is there for programs and tests that need none.
//!
//! The modules below are declared top layer first, and each uses only those below it.
//! Reading this list is reading the architecture.
//!
//! All unsafe code is in `task/`; the facts it relies on are listed in `task/mod.rs`.

// Start threads, one executor each; closures between cores; shutdown.
pub mod core;
// One tick: run ready tasks, fire timers, park.
mod executor;
// Process signals as futures.
pub mod signal;
// Functions on tasks: spawn, yield, join sets, blocking calls.
pub mod tasks;
// Sleep, timeout, interval.
pub mod time;
// What the current core offers to its tasks.
mod services;
// Threads for blocking calls.
mod blocking;
// Primitives within a core, and channels between cores.
pub mod sync;
// The timing wheel.
mod timer;
// Task cells, wakers, the run queue.
mod task;
// The only door between cores.
mod mailbox;
// A task that always finds work yields now and then.
mod budget;
// The thread's current core: the only thread-local.
mod context;
// What to do while nothing can run.
mod idle;
// How to wait.
mod park;
// What time it is.
mod clock;
// Faults planted for the conformance suite.
#[cfg(feature = "mutants")]
mod mutants;
// Counters.
mod stats;
// What loom replaces.
mod primitives;

pub use crate::{
    clock::{Clock, VirtualClock},
    core::{Core, CoreHandle, Cores, RemoteJoinHandle, Running},
    executor::{Config, Executor},
    idle::Idle,
    park::{Park, ThreadPark, Unpark, VirtualPark},
    services::stats,
    stats::Stats,
    task::{JoinError, JoinHandle, TaskId},
    tasks::spawn,
};
