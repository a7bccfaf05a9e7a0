//! The suite can fail: it finds each fault that is planted in the runtime on purpose.
//!
//! A fault is compiled in with the feature `mutants` alone, and chosen by `CORONET_MUTANT`, so that one build tests
//! all. Each runs in a process of its own. `cargo xtask mutants` builds and runs this.

use std::process::{Command, Output};

/// How a fault is to be found.
enum Where {
    /// In the simulated kernel, within so many seeds.
    Seeds(u64),
    /// On a real kernel, at once: it needs several threads.
    Real,
}

/// Name, what it does, and where it is found.
const MUTANTS: [(&str, &str, Where); 11] = [
    (
        "free-on-drop",
        "memory is freed when its future is dropped, not at the last completion",
        Where::Seeds(50),
    ),
    ("descriptor-leaked", "the descriptor of a result that nobody waits for stays open", Where::Seeds(20)),
    ("no-rearm", "a receive that ended with bytes is taken for the end of the stream", Where::Seeds(20)),
    ("cancel-lost", "a cancel that finds the queue full is forgotten", Where::Seeds(50)),
    ("stale-routed", "slots are told apart by their number alone, not by a generation", Where::Seeds(200)),
    ("buffer-lost", "the pooled buffer of a result that nobody waits for does not return", Where::Seeds(50)),
    ("partial-unsaid", "a dropped write that fell short is not told", Where::Seeds(200)),
    ("torn-write", "a write does not wait behind a dropped one", Where::Seeds(20)),
    ("drain-frees", "at the deadline of the drain memory is freed, not leaked", Where::Seeds(100)),
    (
        "zero-copy-early",
        "memory of a zero-copy send is freed with its result, before the notification",
        Where::Seeds(20),
    ),
    ("waker-lost", "a wake from another thread is forgotten", Where::Real),
];

fn storm(mutant: &str, arguments: &[&str]) -> (Output, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coronet-storm"));
    command.args(arguments).env("CORONET_MUTANT", mutant);
    let output = command.output().expect("the program starts");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    (output, text)
}

#[test]
fn the_suite_finds_every_fault_that_is_planted() {
    let mut missed = Vec::new();
    for (mutant, what, found_by) in MUTANTS {
        let (seeds, (output, text)) = match found_by {
            Where::Seeds(seeds) => (seeds, storm(mutant, &["--first", "--seeds", &seeds.to_string()])),
            Where::Real => (1, storm(mutant, &["--first", "--seeds", "1", "--real"])),
        };
        let broken = text.lines().find_map(|line| line.strip_prefix("broken "));
        match broken.and_then(|line| line.split_once(' ')) {
            Some((seed, rest)) => {
                let seeds = seed.parse::<u64>().expect("a seed") + 1;
                println!("found {mutant:18} under {seeds:3} seeds by {rest}");
            }
            None => {
                println!("MISSED {mutant}: {what} ({seeds} seeds, {})", output.status);
                missed.push(mutant);
            }
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
}

/// Without a fault, the same build keeps every promise.
#[test]
fn the_suite_finds_nothing_where_no_fault_is_planted() {
    let (output, text) = storm("none", &["--first", "--seeds", "5"]);
    assert!(output.status.success(), "{text}");
}
