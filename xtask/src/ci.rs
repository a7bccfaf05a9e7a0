//! `cargo xtask ci`: the steps of continuous integration, in order.
//!
//! Every step runs, also after one that failed, so that one run tells everything.
//! `.ci/run` prepares a bare machine and then runs the same steps.

use std::path::Path;
use std::time::{Duration, Instant};

use clap::{Args, ValueEnum};

use crate::command_line;
use crate::tidy;

/// Which steps to run.
#[derive(Args)]
pub(crate) struct Options {
    /// Steps to leave out, separated by commas.
    #[arg(long, value_delimiter = ',', value_name = "STEPS")]
    skip: Vec<Step>,
}

/// One step. The order of the variants is the order they run in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Unit, integration and documentation tests of every member.
    Tests,
    /// The formatter finds nothing to change.
    Format,
    /// The linter finds nothing, in tests and benches too.
    Clippy,
    /// The documentation builds without a warning.
    Docs,
    /// Our own rules.
    Tidy,
}

impl Step {
    /// The step as a user would type it.
    fn command_line(self) -> &'static str {
        match self {
            Step::Tests => "cargo test --workspace",
            Step::Format => "cargo fmt --all --check",
            Step::Clippy => "cargo clippy --workspace --all-targets -- -D warnings",
            Step::Docs => "RUSTDOCFLAGS=-Dwarnings cargo doc --workspace --no-deps",
            Step::Tidy => "cargo xtask tidy",
        }
    }

    /// Runs the step with its output on ours; true if it found nothing wrong.
    fn run(self, root: &Path) -> bool {
        match self {
            Step::Tidy => tidy::run(root),
            Step::Tests | Step::Format | Step::Clippy | Step::Docs => {
                command_line::run(root, self.command_line())
            }
        }
    }
}

/// Runs the steps that `options` leaves; true if all are fine.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    let mut results = Vec::new();
    for step in steps(options) {
        println!("\n==> {}", step.command_line());
        let start = Instant::now();
        let fine = step.run(root);
        let elapsed = start.elapsed();
        println!("{}", result_line(step, fine, elapsed));
        results.push((step, fine, elapsed));
    }
    println!("\n==> summary");
    for &(step, fine, elapsed) in &results {
        println!("{}", result_line(step, fine, elapsed));
    }
    results.iter().all(|&(_, fine, _)| fine)
}

fn steps(options: &Options) -> impl Iterator<Item = Step> {
    let all = Step::value_variants().iter().copied();
    all.filter(|step| !options.skip.contains(step))
}

fn result_line(step: Step, fine: bool, elapsed: Duration) -> String {
    let result = if fine { "ok" } else { "FAILED" };
    format!("{result:6} {:6.1} s  {}", elapsed.as_secs_f64(), step.command_line())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_run_in_order_and_can_be_left_out() {
        let skip = vec![Step::Tests, Step::Clippy];
        let left: Vec<_> = steps(&Options { skip }).collect();
        assert_eq!(left, [Step::Format, Step::Docs, Step::Tidy]);
    }

    #[test]
    fn a_result_line_names_the_step() {
        let line = result_line(Step::Tidy, false, Duration::from_millis(1500));
        assert_eq!(line, "FAILED    1.5 s  cargo xtask tidy");
    }
}
