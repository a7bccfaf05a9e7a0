//! What test programs print, counted: results, failures and SKIP lines. It runs nothing.
//!
//! A SKIP says what the test needs, `SKIP name: needs recv_multi, bundles`. So what was skipped can be
//! compared with what is not there: a test that is skipped for another reason is a fault.

use std::collections::{BTreeMap, BTreeSet};

/// What one run printed, counted.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    /// Tests that passed. One that was skipped, wholly or for a part, is not among them.
    pub(crate) passed: usize,
    /// `program: test`.
    pub(crate) failed: BTreeSet<String>,
    /// `program: test`, and all that it said it needs.
    pub(crate) skipped: BTreeMap<String, BTreeSet<String>>,
    /// It ended well, and every test program said how it went.
    pub(crate) complete: bool,
}

impl Counts {
    /// Adds those of another program.
    pub(crate) fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.complete &= other.complete;
    }
}

/// Reads what `cargo test` prints, the programs one after the other.
pub(crate) fn count_all(text: &str, fine: bool) -> Counts {
    let mut total = Counts { complete: fine, ..Counts::default() };
    for part in text.split("     Running ").skip(1) {
        let (start, said) = part.split_once('\n').unwrap_or((part, ""));
        let path = start.rsplit('(').next().unwrap_or(start).trim_end_matches(')');
        let file = path.rsplit('/').next().unwrap_or(path);
        let name = file.rsplit_once('-').map_or(file, |(name, _)| name);
        total.add(count(name, said, fine));
    }
    total
}

/// Reads what one test program prints: results of tests, SKIP lines, sums.
pub(crate) fn count(program: &str, text: &str, fine: bool) -> Counts {
    let mut counts = Counts { complete: fine, ..Counts::default() };
    for line in text.lines() {
        // With output that is not captured, a SKIP may stand behind the name of its test.
        if let Some((name, reason)) = line.split_once("SKIP ").and_then(|(_, skip)| skip.split_once(": ")) {
            counts.skipped.entry(format!("{program}: {name}")).or_default().extend(needs(reason));
        }
        if let Some(sums) = line.strip_prefix("test result: ") {
            let passed = sums.split(' ').nth(1).and_then(|count| count.parse::<usize>().ok());
            counts.passed += passed.unwrap_or(0);
        } else if let Some(name) = line.strip_prefix("    ").filter(|_| !fine)
            && !name.is_empty()
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == ':')
        {
            // The list of failures, indented.
            counts.failed.insert(format!("{program}: {name}"));
        }
    }
    counts.passed = counts.passed.saturating_sub(counts.skipped.len());
    counts
}

/// The features in `needs recv_multi, bundles: more words`; the whole text, if it names none.
fn needs(reason: &str) -> Vec<String> {
    let Some(list) = reason.strip_prefix("needs ") else { return vec![reason.to_owned()] };
    let list = list.split([':', '(']).next().unwrap_or(list);
    list.split(',').map(|feature| feature.trim().to_owned()).collect()
}

/// Works without them, and no test asks whether they are there.
const NO_TEST_NEEDS: [&str; 3] = ["min_wait", "poll_multi", "waits_nonblocking"];

/// What is wrong with the skips of a run of all tests where exactly `absent` is not there.
pub(crate) fn unlike(skipped: &BTreeMap<String, BTreeSet<String>>, absent: &BTreeSet<String>) -> Vec<String> {
    let mut wrong = without_cause(skipped, absent);
    let named: BTreeSet<_> = skipped.values().flatten().collect();
    for feature in absent.iter().filter(|feature| !NO_TEST_NEEDS.contains(&feature.as_str())) {
        if !named.contains(feature) {
            wrong.push(format!("nothing was skipped for lack of {feature}"));
        }
    }
    wrong
}

/// Those that were skipped for lack of what is there, or for another reason.
pub(crate) fn without_cause(
    skipped: &BTreeMap<String, BTreeSet<String>>,
    absent: &BTreeSet<String>,
) -> Vec<String> {
    let causes = skipped.iter().flat_map(|(test, needs)| needs.iter().map(move |need| (test, need)));
    let unfounded = causes.filter(|(_, need)| !absent.contains(*need));
    unfounded.map(|(test, need)| format!("{test} was skipped, and this is there: {need}")).collect()
}

/// One line for a table, and below it what failed and what was skipped.
pub(crate) fn row(name: &str, counts: &Counts) -> String {
    let mut row = format!(
        "{} {name:26} {:4} passed, {:2} failed, {:2} skipped",
        if counts.complete { "ok    " } else { "FAILED" },
        counts.passed,
        counts.failed.len(),
        counts.skipped.len(),
    );
    for failed in &counts.failed {
        row += &format!("\n         failed: {failed}");
    }
    for (skipped, needs) in &counts.skipped {
        let needs: Vec<_> = needs.iter().map(String::as_str).collect();
        row += &format!("\n         skipped: {skipped} (needs {})", needs.join(", "));
    }
    row
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "     Running tests/one.rs (target/debug/deps/one-0123)
running 3 tests
test one ... ok
test two ... SKIP two: needs bundles, recv_multi (1 so far)
ok
test three ... FAILED
failures:
    kernel::three
test result: FAILED. 2 passed; 1 failed; 0 ignored
     Running unittests src/lib.rs (target/debug/deps/coronet_ring-0123)
SKIP four: needs io_uring: refused with EPERM; look at this: that
SKIP four: needs bundles
test result: ok. 5 passed; 0 failed; 0 ignored";

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn results_are_counted_over_all_programs_and_a_skip_is_no_pass() {
        let counts = count_all(OUTPUT, false);
        assert_eq!((counts.passed, counts.complete), (5, false));
        assert_eq!(counts.failed, set(&["one: kernel::three"]));
        assert_eq!(counts.skipped["one: two"], set(&["bundles", "recv_multi"]));
        assert_eq!(counts.skipped["coronet_ring: four"], set(&["bundles", "io_uring"]));
        assert_eq!(counts.skipped.len(), 2);
    }

    #[test]
    fn a_row_names_what_failed_and_what_was_skipped() {
        let row = row("6.1", &count("one", OUTPUT, false));
        assert!(row.starts_with("FAILED 6.1") && row.contains("failed: one: kernel::three"), "{row}");
        assert!(row.contains("skipped: one: two (needs bundles, recv_multi)"), "{row}");
    }

    #[test]
    fn skips_are_exactly_those_of_what_is_absent() {
        let skipped = count_all(OUTPUT, false).skipped;
        let absent = set(&["bundles", "io_uring", "min_wait", "recv_multi"]);
        assert_eq!(unlike(&skipped, &absent), Vec::<String>::new());
        let more = unlike(&skipped, &set(&["bundles", "io_uring", "recv_multi", "msg_ring"]));
        assert_eq!(more, ["nothing was skipped for lack of msg_ring"]);
        let fewer = unlike(&skipped, &set(&["bundles", "io_uring"]));
        assert_eq!(fewer, ["one: two was skipped, and this is there: recv_multi"]);
    }

    /// The trap: a test that is skipped because the machine is short of something looks like one that passed.
    #[test]
    fn a_skip_for_no_feature_is_without_cause() {
        let skipped = count("one", "SKIP two: the machine is small", true).skipped;
        let wrong = without_cause(&skipped, &set(&["bundles"]));
        assert_eq!(wrong, ["one: two was skipped, and this is there: the machine is small"]);
    }
}
