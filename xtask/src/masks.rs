//! `cargo xtask masks`: the workspace's tests as on older kernels, and without io_uring.
//!
//! Each run hides capabilities by `CORONET_MASK`, or chooses the backend by
//! `CORONET_BACKEND`. All runs are done, also after one that failed; a table says how many tests
//! passed, failed, and were skipped, and by which names.

use std::collections::BTreeSet;
use std::path::Path;

use clap::Args;

use crate::command_line;

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

/// What one run printed, counted.
#[derive(Debug, Default, PartialEq, Eq)]
struct Counts {
    passed: usize,
    failed: BTreeSet<String>,
    skipped: BTreeSet<String>,
    /// It ended well, and every test program said how it went.
    complete: bool,
}

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

/// Reads what the test programs print: results of tests, SKIP lines, sums.
fn count(text: &str, fine: bool) -> Counts {
    let mut counts = Counts { complete: fine, ..Counts::default() };
    for line in text.lines() {
        // With output that is not captured, a SKIP may stand behind the name of its test.
        if let Some((_, skipped)) = line.split_once("SKIP ") {
            counts.skipped.insert(skipped.split(':').next().unwrap_or(skipped).to_owned());
        }
        if let Some(sums) = line.strip_prefix("test result: ") {
            let passed = sums.split(' ').nth(1).and_then(|count| count.parse::<usize>().ok());
            counts.passed += passed.unwrap_or(0);
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| !fine)
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
        {
            // The list of failures, indented.
            counts.failed.insert(name.to_owned());
        }
    }
    counts
}

fn row(name: &str, counts: &Counts) -> String {
    let list = |names: &BTreeSet<String>| names.iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let mut row = format!(
        "{} {name:26} {:4} passed, {:2} failed, {:2} skipped",
        if counts.complete { "ok    " } else { "FAILED" },
        counts.passed,
        counts.failed.len(),
        counts.skipped.len(),
    );
    for (what, names) in [("failed", &counts.failed), ("skipped", &counts.skipped)] {
        if !names.is_empty() {
            row += &format!("\n         {what}: {}", list(names));
        }
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "running 3 tests
test one ... ok
test two ... SKIP two: no such thing (1 so far)
ok
test three ... FAILED
failures:
    kernel::three
test result: FAILED. 2 passed; 1 failed; 0 ignored
test result: ok. 5 passed; 0 failed; 0 ignored";

    #[test]
    fn results_are_counted_over_all_programs() {
        let counts = count(OUTPUT, false);
        assert_eq!((counts.passed, counts.complete), (7, false));
        assert_eq!(counts.failed, BTreeSet::from(["kernel::three".to_owned()]));
        assert_eq!(counts.skipped, BTreeSet::from(["two".to_owned()]));
    }

    #[test]
    fn a_row_names_what_failed_and_what_was_skipped() {
        let row = row("6.1", &count(OUTPUT, false));
        assert!(row.starts_with("FAILED 6.1") && row.contains("failed: kernel::three"), "{row}");
        assert!(row.ends_with("skipped: two"), "{row}");
    }
}
