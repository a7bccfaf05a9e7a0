//! `cargo xtask mutants`: the conformance suite finds each fault that is planted in the runtime.
//!
//! What the faults are, and how many seeds each may take: `tests/conformance/tests/mutants.rs`.

use std::path::Path;

use crate::command_line;

/// Features of one member cannot be had in a build of the whole workspace without changing the others: this is
/// a build of its own.
pub(crate) const TEST: &str =
    "cargo test -p coronet-conformance --features mutants --test mutants -- --nocapture --test-threads=1";

/// True if every fault is found.
pub(crate) fn run(root: &Path) -> bool {
    command_line::run(root, TEST)
}
