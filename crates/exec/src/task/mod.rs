//! What a task is: one allocation that holds a future, later its output, and a header.
//!
//! A task lives on the core that spawned it. Its future is polled and dropped there, and so
//! is its output; only its *wakers* may travel. So the header has two halves: cells that the
//! owner thread alone touches, and one atomic word for everybody else (`header.rs` says field
//! by field who may touch what). A wake, clone or drop of a waker on the owner thread is plain
//! arithmetic; elsewhere it goes through the atomic word and the core's remote stack.
//!
//! # Invariants
//!
//! The unsafe code of this crate is in `header.rs`, `raw.rs`, `waker.rs`, `join.rs`, `owned.rs`,
//! `queue.rs`, `remote.rs` and `scheduler.rs` of this directory. Its comments cite these facts:
//!
//! - **\[cell-alive\]** A cell is freed only when the owner's count plus the remote count is zero
//!   and its `QUEUED` bit is clear. The unfinished task counts as one reference, so do its
//!   `JoinHandle` and each `Waker`. Whoever holds one of these, or the `QUEUED` bit, may use the header.
//! - **\[task-owned\]** Everything in a cell except the remote word, the remote link, `home` and
//!   `vtable` is touched by the owner thread only. A thread is the owner if the scheduler is the
//!   current one in `context.rs`, or if it holds a `!Send` witness: `JoinHandle`, `Executor`.
//! - **\[home-alive\]** A cell that is not orphaned implies a live scheduler: the executor orphans
//!   every cell before it gives up its reference. An orphaned cell owns one reference itself.
//! - **\[one-poll\]** The stage of a cell is borrowed only (a) by `poll`, while the state is
//!   `Running`, `Rerun` or `Dying`, or (b) by whoever takes the output, once it is `Finished`.
//! - **\[stage-empty\]** When a cell is freed, its stage holds neither future nor output, and its
//!   join waker is gone. So freeing runs no user code and may happen on any thread.
//! - **\[listed\]** A cell that is not orphaned is in exactly one owned list of its scheduler, and in the
//!   run queue at most once, iff its state is `Queued` or `Doomed` and the scheduler is open.

mod header;
mod join;
mod owned;
mod queue;
mod prefetch;
mod raw;
mod remote;
mod scheduler;
mod state;
mod waker;

pub use self::{
    header::TaskId,
    join::{JoinError, JoinHandle},
};
pub(crate) use self::{raw::catch, scheduler::Scheduler};
