//! What the reference servers, the load generator and the runner share.
//!
//! - `raw_uring` and `raw_epoll`: echo servers without a runtime, the two limits.
//! - `load`: one load generator for every server; it verifies every byte.
//! - `rounds`: starts servers, runs `load` in mirrored order, prints paired ratios.
//!
//! Nothing here depends on the other Coronet crates: the limit must not move
//! when the runtime changes.

pub mod affinity;
pub mod buffers;
pub mod lane;
pub mod listen;
pub mod pattern;
pub mod process;
pub mod region;
pub mod report;
