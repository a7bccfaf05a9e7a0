//! What every backend has to do, on io_uring: the bodies stand in `cases`.

mod support;
#[path = "cases/descriptors.rs"]
mod descriptors;
#[path = "cases/groups.rs"]
mod groups;
#[path = "cases/kernel.rs"]
mod kernel;
#[path = "cases/waking.rs"]
mod waking;

use coronet_ring::{Driver, Preference};

/// A driver on io_uring, or `None` and a line that says why.
fn ring(name: &str, entries: u32) -> Option<Driver> {
    support::kernel::open(Preference::Uring, name, entries)
}
