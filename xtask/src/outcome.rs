//! What test programs print, counted: results, failures and SKIP lines. It runs nothing.

use std::collections::BTreeSet;

/// What one run printed, counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: usize,
    pub(crate) failed: BTreeSet<String>,
    pub(crate) skipped: BTreeSet<String>,
    /// It ended well, and every test program said how it went.
    pub(crate) complete: bool,
}

/// Reads what the test programs print: results of tests, SKIP lines, sums.
pub(crate) fn count(text: &str, fine: bool) -> Counts {
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

/// One line for a table, and below it what failed and what was skipped.
pub(crate) fn row(name: &str, counts: &Counts) -> String {
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
