//! The whole suite.

use crate::families;
use crate::promise::Promise;

/// All promises, family by family.
pub fn all() -> Vec<Promise> {
    families::ALL.iter().flat_map(|family| family.iter().copied()).collect()
}
