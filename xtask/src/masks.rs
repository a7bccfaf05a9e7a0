//! `cargo xtask masks`: the workspace's tests as on older kernels, and without io_uring.
//!
//! Each run hides capabilities by `CORONET_MASK`, or chooses the backend by
//! `CORONET_BACKEND`. All runs are done, also after one that failed; a table says how many tests
//! passed, failed, and were skipped, and by which names.

use std::path::Path;

use clap::Args;

use crate::command_line;
use crate::outcome::{count, row};

/// Which runs to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these runs, as the table names them, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "RUNS")]
    only: Vec<String>,
}

/// The capabilities and flags that are hidden one by one (`+`: together), then the kernels that are played.
const MASKS: [&str; 16] = [
    "poll_multi",
    "msg_ring",
    "buffer_groups",
    "accept_multi",
    "recv_multi",
    "send_zc",
    "bundles",
    "incremental",
    "min_wait",
    "no_sqarray",
    "defer_taskrun",
    "defer_taskrun+coop_taskrun",
    "5.15",
    "6.1",
    "6.6",
    "6.12",
];

const TESTS: &str = "cargo test --no-fail-fast -p coronet-ring -p coronet-io -p coronet -p coronet-examples --tests \
                     -- --nocapture";

/// Runs the tests under everything that can be hidden; true if nothing failed.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    let masks = MASKS.map(|mask| (mask, format!("CORONET_MASK={} {TESTS}", mask.replace('+', ","))));
    let backends = [("uring", "uring"), ("epoll", "epoll")]
        .map(|(name, backend)| (name, format!("CORONET_BACKEND={backend} {TESTS}")));
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    let mut rows = Vec::new();
    for (name, line) in masks.into_iter().chain(backends).filter(|(name, _)| wanted(name)) {
        println!("==> {line}");
        let (fine, text) = command_line::output(root, &line).unwrap_or_default();
        let counts = count(&text, fine);
        println!("{}", row(name, &counts));
        rows.push((name, counts));
    }
    println!("\n==> summary");
    for (name, counts) in &rows {
        println!("{}", row(name, counts));
    }
    !rows.is_empty() && rows.iter().all(|(_, counts)| counts.complete && counts.failed.is_empty())
}
