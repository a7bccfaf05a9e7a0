//! Faults that are planted on purpose, so that the conformance suite can be seen to find them.
//!
//! Only with the feature `mutants`, which no program turns on. The environment variable
//! `CORONET_MUTANT` names the one that is active.

use std::sync::OnceLock;

/// True if this fault is active.
pub(crate) fn is(name: &str) -> bool {
    static ACTIVE: OnceLock<String> = OnceLock::new();
    ACTIVE.get_or_init(|| std::env::var("CORONET_MUTANT").unwrap_or_default()) == name
}
