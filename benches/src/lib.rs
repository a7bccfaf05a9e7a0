//! What the reference servers, the load generator and the runner share.
//!
//! - `raw_uring` and `raw_epoll`: servers without a runtime, the two limits.
//! - `load`: one load generator for every server; it verifies every byte.
//! - `rounds`: starts servers, runs `load` in mirrored order, prints paired ratios.
//!
//! These depend on no other Coronet crate: the limit must not move when the runtime changes. Only the
//! micro-benchmarks (`benches/benches/`) and `coronet-sink` run the runtime itself. The runtimes that it is
//! compared with are programs of their own, in `benches/rivals/`; the command line and the sockets that all
//! servers share are there too, in `benches/rivals/options`.

pub mod affinity;
pub mod buffers;
pub mod lane;
pub mod memory;
pub mod pattern;
pub mod process;
pub mod region;
pub mod report;
