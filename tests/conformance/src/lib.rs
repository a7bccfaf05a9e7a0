//! The conformance suite: what Coronet promises, as bodies that run on every kernel.
//!
//! A *promise* is one async function on the public API. It runs on io_uring, on epoll, and in the
//! simulated kernel under many seeds, and may not tell the difference. Afterwards everything has to be
//! back: descriptors, leases, operations, tasks, timers.
//!
//! It does not repeat what needs threads or processes as peers; that is in `crates/coronet/tests`.
//!
//! Modules are declared top layer first, and use only what stands below them.

pub mod real;

pub mod simulated;

pub mod suite;

mod families;

mod rest;

mod support;

mod promise;

mod kernel;

pub use kernel::Kernel;
pub use promise::Promise;
