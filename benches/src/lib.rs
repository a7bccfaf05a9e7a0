//! What the reference servers, the load generator and the runner share.
//!
//! - `raw_uring` and `raw_epoll`: echo servers without a runtime, the two limits.
//! - `load`: one load generator for every server; it verifies every byte.
//! - `rounds`: starts servers, runs `load` in mirrored order, prints paired ratios.
//!
//! The programs depend on no other Coronet crate: the limit must not move when the
//! runtime changes. Only the micro-benchmarks (`benches/benches/`) run the runtime itself.

pub mod affinity;
pub mod buffers;
pub mod lane;
pub mod listen;
pub mod pattern;
pub mod process;
pub mod region;
pub mod report;
