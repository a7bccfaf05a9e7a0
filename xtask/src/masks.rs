//! `cargo xtask masks`: the workspace's tests as on older kernels, and without io_uring.
//!
//! Each run hides capabilities by `CORONET_MASK`, or chooses the backend by
//! `CORONET_BACKEND`. All runs are done, also after one that failed; a table says how many tests
//! passed, failed, and were skipped, and by which names. Under a mask those are skipped that need what it
//! hides, and no others: that is checked.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Instant;

use clap::Args;

use crate::command_line::{SUITE, SUITE_PROGRAMS};
use crate::outcome::{count_all, row, unlike, without_cause};
use crate::{capabilities, command_line};

/// Which runs to do.
#[derive(Args)]
pub(crate) struct Options {
    /// Only these runs, as the table names them, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "RUNS")]
    only: Vec<String>,
}

/// The capabilities and flags that are hidden one by one (`+`: together), then the kernels that are played.
const MASKS: [&str; 19] = [
    "waits_nonblocking",
    "poll_multi",
    "msg_ring",
    "buffer_groups",
    "accept_multi",
    "recv_multi",
    "send_zc",
    "send_zc_report",
    "bundles",
    "incremental",
    "min_wait",
    "file_table",
    "no_sqarray",
    "defer_taskrun",
    "defer_taskrun+coop_taskrun",
    "5.15",
    "6.1",
    "6.6",
    "6.12",
];

/// Runs the tests under everything that can be hidden; true if nothing failed.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    let masks = MASKS.map(|name| (name, "CORONET_MASK", name.replace('+', ",")));
    let backends = ["uring", "epoll"].map(|name| (name, "CORONET_BACKEND", name.to_owned()));
    let wanted = |name: &str| options.only.is_empty() || options.only.iter().any(|only| only == name);
    if !command_line::run(root, SUITE_PROGRAMS) {
        return false;
    }
    let (mut rows, mut fine) = (Vec::new(), true);
    for (name, variable, value) in masks.into_iter().chain(backends).filter(|(name, ..)| wanted(name)) {
        let line = format!("{variable}={value} {SUITE}");
        println!("==> {line}");
        let start = Instant::now();
        let (ended_well, text) = command_line::output(root, &line).unwrap_or_default();
        let counts = count_all(&text, ended_well);
        let wrong = match (variable, name) {
            ("CORONET_MASK", _) => unlike(&counts.skipped, &capabilities::absent_under(root, &value)),
            (_, "epoll") => without_cause(&counts.skipped, &["io_uring".to_owned()].into()),
            _ => without_cause(&counts.skipped, &BTreeSet::new()),
        };
        let mut row = row(name, &counts);
        for fault in &wrong {
            row += &format!("\n         WRONG: {fault}");
        }
        if !(ended_well && counts.failed.is_empty()) {
            keep(root, name, &text);
        }
        fine &= ended_well && counts.failed.is_empty() && wrong.is_empty();
        println!("{row}\n         {} s", start.elapsed().as_secs());
        rows.push(row);
    }
    println!("\n==> summary");
    for row in &rows {
        println!("{row}");
    }
    !rows.is_empty() && fine
}

/// All that a run printed which failed.
fn keep(root: &Path, name: &str, text: &str) {
    let log = root.join("target").join(format!("mask-{name}.log"));
    let kept = std::fs::create_dir_all(root.join("target")).and_then(|()| std::fs::write(&log, text));
    match kept {
        Ok(()) => println!("all that it said: {}", log.display()),
        Err(error) => println!("{}: {error}", log.display()),
    }
}
