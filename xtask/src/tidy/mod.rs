//! `cargo xtask tidy`: the rules of docs/STYLE.md that a program can check.
//!
//! One file per check. A check reads the [`Tree`] and returns [`Finding`]s; it
//! prints nothing and touches no disk, so its tests are small texts. Reasons for
//! exceptions are in `xtask/tidy.toml`; an exception that is no longer needed is a
//! finding too.
//!
//! The modules below are declared top layer first; each uses only those declared after
//! it. The checks do not know each other.

mod cancellation;
mod crates;
mod doc_paths;
mod forbidden;
mod generated;
mod headers;
mod layers;
mod length;
mod syntax;
mod unsafety;
mod wildcards;

mod attributes;

mod pattern;

mod tokens;

mod tree;

mod config;

use std::fmt;
use std::path::Path;

use tree::Tree;

/// A check: what it looks at, and the function that looks.
type Check = fn(&Tree) -> Vec<Finding>;

const CHECKS: &[Check] = &[
    syntax::check,
    headers::check,
    length::check,
    forbidden::check,
    layers::check,
    crates::check,
    wildcards::check,
    unsafety::check,
    cancellation::check,
    doc_paths::check,
    generated::check,
];

/// Something to change: where, what is wrong, what to do.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: String,
    line: usize,
    what: String,
    cure: String,
}

impl Finding {
    fn new(path: &str, line: usize, what: impl Into<String>, cure: impl Into<String>) -> Finding {
        Finding { path: path.into(), line, what: what.into(), cure: cure.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Finding { path, line, what, cure } = self;
        write!(f, "{path}:{line}: {what}; {cure}")
    }
}

/// Runs every check and prints the findings; true if there are none.
pub(crate) fn run(root: &Path) -> bool {
    let tree = match Tree::read(root) {
        Ok(tree) => tree,
        Err(error) => {
            println!("tidy: {error}");
            return false;
        }
    };
    let findings = findings(&tree);
    for finding in &findings {
        println!("{finding}");
    }
    println!(
        "tidy: {} in {} Rust files, {} checks",
        match findings.len() {
            0 => "no findings".into(),
            1 => "1 finding".into(),
            many => format!("{many} findings"),
        },
        tree.sources().count(),
        CHECKS.len(),
    );
    findings.is_empty()
}

/// Writes the pages that are made from the code; true if they could be made.
pub(crate) fn write_documents(root: &Path) -> bool {
    match Tree::read(root) {
        Ok(tree) => generated::write(root, &tree),
        Err(error) => {
            println!("docs: {error}");
            false
        }
    }
}

fn findings(tree: &Tree) -> Vec<Finding> {
    let mut findings: Vec<_> = CHECKS.iter().flat_map(|check| check(tree)).collect();
    findings.sort();
    findings.dedup();
    findings
}

/// The findings of one check, as they are printed: what its tests compare.
#[cfg(test)]
fn lines_of(check: Check, tree: &Tree) -> Vec<String> {
    check(tree).iter().map(ToString::to_string).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_finding_is_one_line_with_place_fault_and_cure() {
        let finding = Finding::new("a/b.rs", 7, "`x` is wrong", "write `y`");
        assert_eq!(finding.to_string(), "a/b.rs:7: `x` is wrong; write `y`");
    }

    #[test]
    fn findings_of_all_checks_come_sorted_by_place() {
        let tree = Tree::of(&[
            ("crates/b/src/lib.rs", "fn b() { todo!() }"),
            ("crates/a/src/lib.rs", "//! A.\nfn a() { dbg!(1); }"),
        ]);
        let places: Vec<_> = findings(&tree).into_iter().map(|f| format!("{}:{}", f.path, f.line)).collect();
        assert_eq!(places, ["crates/a/src/lib.rs:2", "crates/b/src/lib.rs:1", "crates/b/src/lib.rs:1"]);
    }
}
