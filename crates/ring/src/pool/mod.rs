//! Buffers that the kernel picks: a group lends many, and a [`Lease`] is one of them
//! while the program reads it.
//!
//! The group's ring lives in memory that the kernel shares, in the kernel's own
//! format, so every backend can read it as the kernel does. See the man page
//! `io_uring_register_buf_ring(3)`.
//!
//! Invariants:
//!
//! - `[buffer-held]` The bytes of a lease are written by nobody: the kernel fills a
//!   buffer only beyond what it has reported, and a buffer returns to the ring only
//!   when no lease of it is left.
//! - `[group-mapped]` The memory of a group stays mapped while a lease, an operation
//!   or a live ring refers to it.

mod group;
mod lease;
mod account;
mod reserve;
mod size;
mod memory;

pub use account::Account;
pub(crate) use group::GroupState;
pub use group::{Group, GroupConfig, Room};
pub use lease::{Lease, Received};
pub use memory::GroupMemory;

pub use crate::completion::GroupId;
