//! The simulated kernel: plain data, one thread, no I/O.
//!
//! It touches lent memory at the time of an *effect*, which it keeps apart from the time of the
//! *completion*; never after an operation is done. Every choice comes from the tape. It is never
//! kinder than Linux: what Linux may do, it does for some seed.

mod calls;
mod enter;
mod perform;
mod zero_copy;
mod sockets;
mod transfer;
mod cancel;
mod release;
mod tcp;
pub(crate) mod state;
mod events;
mod network;
pub(crate) mod objects;
mod files;
mod pipes;
mod endpoint;
pub(crate) mod ops;
mod groups;
mod memory;
mod bytes;
mod address;

pub(crate) use objects::HostId;
pub(crate) use ops::RingId;
pub(crate) use state::Kernel;
