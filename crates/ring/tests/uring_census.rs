//! What is left behind, on io_uring: a process of its own, because it counts descriptors.

#[path = "cases/census.rs"]
mod census;
mod support;

use coronet_ring::{Driver, Preference};

/// A driver on io_uring, or `None` and a line that says why.
fn ring(name: &str, entries: u32) -> Option<Driver> {
    support::kernel::open(Preference::Uring, name, entries)
}
