//! What a command did: runs that were fine, runs that failed, and what could not be run here.

use std::time::Instant;

/// Counts runs and prints a line for each.
#[derive(Debug, Default)]
pub(crate) struct Tally {
    lines: Vec<String>,
    failed: usize,
    skipped: usize,
}

impl Tally {
    /// Does a run; `work` returns whether it was fine, and what else there is to say.
    pub(crate) fn run(&mut self, name: &str, work: impl FnOnce() -> (bool, String)) {
        println!("==> {name}");
        let start = Instant::now();
        let (fine, more) = work();
        let result = if fine { "ok" } else { "FAILED" };
        self.failed += usize::from(!fine);
        let comma = if more.is_empty() { "" } else { ", " };
        self.note(format!("{result:6} {:6.1} s  {name}{comma}{more}", start.elapsed().as_secs_f64()));
    }

    /// Notes that `name` cannot be run here.
    pub(crate) fn skip(&mut self, name: &str, reason: &str) {
        self.skipped += 1;
        self.note(format!("SKIP {name}: {reason}"));
    }

    fn note(&mut self, line: String) {
        println!("{line}");
        self.lines.push(line);
    }

    /// Prints all lines again, and the sum; true if nothing failed.
    pub(crate) fn finish(self) -> bool {
        println!("\n==> summary");
        for line in &self.lines {
            println!("{line}");
        }
        println!("{}", self.sum());
        self.failed == 0
    }

    fn sum(&self) -> String {
        let ran = self.lines.len() - self.skipped;
        format!("{ran} runs, {} failed, {} skipped", self.failed, self.skipped)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_skip_is_counted_and_is_no_failure() {
        let mut tally = Tally::default();
        tally.run("one", || (true, String::new()));
        tally.skip("two", "no such tool");
        assert_eq!(tally.sum(), "1 runs, 0 failed, 1 skipped");
        assert_eq!(tally.lines[1], "SKIP two: no such tool");
        assert!(tally.finish());
    }

    #[test]
    fn one_failure_fails_the_command() {
        let mut tally = Tally::default();
        tally.run("one", || (false, "it broke".to_owned()));
        tally.run("two", || (true, String::new()));
        assert!(tally.lines[0].starts_with("FAILED") && tally.lines[0].ends_with("one, it broke"));
        assert!(!tally.finish());
    }
}
