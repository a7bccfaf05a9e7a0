//! Channels between cores, and between cores and plain threads.
//!
//! Their ends are `Send`. Futures for tasks, blocking variants for threads; blocking a thread that
//! runs an executor panics, since it would stop every task there.

mod block;
pub mod mpsc;
pub mod oneshot;

pub(crate) use self::block::block_thread;
