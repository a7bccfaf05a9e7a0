//! What the backend lacks, by the lines of the program that lists capabilities
//! (`crates/ring/examples/capabilities.rs`). It judges no version.

use std::collections::BTreeSet;
use std::path::Path;

use crate::command_line;

const PROGRAM: &str = "cargo run --quiet -p coronet-ring --example capabilities";

/// One line of the list.
pub(crate) struct Line<'text> {
    pub(crate) name: &'text str,
    /// The kernel that brought it.
    pub(crate) since: &'text str,
    pub(crate) there: bool,
}

/// The capabilities that `said` lists.
pub(crate) fn lines(said: &str) -> impl Iterator<Item = Line<'_>> {
    said.lines().filter_map(|line| {
        let mut words = line.strip_prefix("capability ")?.split(' ');
        let (name, since, there) = (words.next()?, words.next()?, words.next()?);
        Some(Line { name, since, there: there == "yes" })
    })
}

/// What is not there: capabilities, and what the lowest rung of the set-up is without.
pub(crate) fn absent(said: &str) -> BTreeSet<String> {
    let mut absent: BTreeSet<_> =
        lines(said).filter(|line| !line.there).map(|line| line.name.to_owned()).collect();
    if said.contains("backend io_uring (plain") {
        absent.insert("coop_taskrun".to_owned());
    }
    absent
}

/// What is not there under this mask.
pub(crate) fn absent_under(root: &Path, mask: &str) -> BTreeSet<String> {
    let (_, said) = command_line::output(root, &format!("CORONET_MASK={mask} {PROGRAM}")).unwrap_or_default();
    absent(&said)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_absent_is_named() {
        let said =
            "backend io_uring (plain, 256 entries)\ncapability bundles 6.10 no\ncapability msg_ring 5.18 yes";
        assert_eq!(absent(said), ["bundles", "coop_taskrun"].map(str::to_owned).into());
        assert_eq!(lines(said).count(), 2);
    }
}
