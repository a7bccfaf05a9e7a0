//! What the runtime costs around the ring: tasks, wakes, channels, timers, operations, leases.
//!
//! `cargo bench -p coronet-benches --bench around_the_ring [filter]`
//!
//! Everything runs on the whole runtime, with its ring as the park. At the end comes one table:
//! each median beside what it ought to reach. What a task costs without a ring is in the
//! benchmarks of `crates/exec`.

mod tasks;
mod channels;
mod timers;
mod cores;
mod operations;
mod leases;

mod raw;

mod table;

use std::time::Duration;

use table::Table;

fn main() {
    let mut table = Table::new();
    // First, while the heap is as fresh as in a process that has just started.
    tasks::measure(&mut table);
    channels::measure(&mut table);
    timers::measure(&mut table);
    operations::measure(&mut table);
    leases::measure(&mut table);
    cores::measure(&mut table);
    table.finish();
}

/// A runtime with all defaults.
fn runtime() -> coronet::Runtime {
    coronet::Runtime::new().expect("a ring can be had here")
}

/// Time of `rounds` operations that are only done `each` at a time.
fn scaled(rounds: u64, each: u64, mut pass: impl FnMut() -> Duration) -> Duration {
    let passes = rounds.div_ceil(each);
    let total: Duration = (0..passes).map(|_| pass()).sum();
    total.mul_f64(rounds as f64 / (passes * each) as f64)
}
