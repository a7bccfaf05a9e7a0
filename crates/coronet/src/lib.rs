//! Coronet: a completion runtime for Linux. **Co**routines on a **ring** for the **net**work.
//!
//! A server starts one executor per core, and every socket and timer of that core is served
//! by one io_uring that only that core touches. Tasks never migrate, so futures may be `!Send`.
//! Calls that move bytes take their buffer by value and give it back with the result, so
//! dropping a future at any time loses no byte, no connection, no buffer and no descriptor.
//!
//! # Examples
//! An echo server on every core:
//!
//! ```no_run
//! use coronet::{Cores, net::{ListenOptions, TcpListener}};
//! use std::sync::Mutex;
//!
//! fn main() -> std::io::Result<()> {
//!     let cores = std::thread::available_parallelism()?.get();
//!     let sockets = ListenOptions::default().bind_group(([127, 0, 0, 1], 8888).into(), cores)?;
//!     let sockets = std::sync::Arc::new(Mutex::new(sockets));
//!     let running = Cores::count(cores).start(move |_core| {
//!         // Each core takes its own; a clone would go on listening when the listener is closed.
//!         let socket = sockets.lock().unwrap().pop().expect("one for each core");
//!         async move { serve(TcpListener::from(socket)).await }
//!     })?;
//!     for result in running.join() {
//!         result.expect("no panic")?;
//!     }
//!     Ok(())
//! }
//!
//! async fn serve(listener: TcpListener) -> std::io::Result<()> {
//!     loop {
//!         let (stream, _peer) = listener.accept().await?;
//!         coronet::spawn(async move { coronet::io::forward(&stream, &stream).await });
//!     }
//! }
//! ```
//!
//! Modules are declared top layer first, and use only what stands below them.

#[doc(hidden)]
#[path = "private.rs"]
pub mod __private;
mod cores;
mod embedded;
mod runtime;
mod builder;
mod metrics;
mod park;
mod limit;

pub use builder::{Backend, Builder, Idle};
pub use cores::Cores;
pub use coronet_exec::{Core, CoreHandle, JoinError, JoinHandle, RemoteJoinHandle, Running, spawn};
pub use coronet_io::{buf, io, net};
pub use coronet_macros::{main, test};
pub use coronet_ring::{BackendReport, Capabilities, Lease, Refusal};
pub use embedded::{Embedded, Turn};
pub use futures_util::{join, pin_mut, select, select_biased, try_join};
pub use metrics::{Metrics, metrics};
pub use runtime::{Runtime, run};

/// Tasks: spawning, yielding, gathering.
pub mod task {
    pub use coronet_exec::tasks::*;
    pub use coronet_exec::{JoinError, JoinHandle, TaskId};
}

/// Ways for tasks to wait for each other; `sync::cross` between cores.
pub mod sync {
    pub use coronet_exec::sync::*;
}

/// Sleeping, timeouts, intervals.
pub mod time {
    pub use coronet_exec::time::*;
}

/// Signals of the process.
pub mod signal {
    pub use coronet_exec::signal::*;
}

/// The simulated kernel: what `#[coronet::test(sim)]` runs in, and how a test steers it.
#[cfg(feature = "sim")]
pub mod sim {
    pub use coronet_sim::*;
}

/// The driver of this thread, for code that brings operations of its own.
pub mod ring {
    pub use coronet_io::context::{Context, current, try_current};
    pub use coronet_io::op;
    pub use coronet_ring::*;
}
