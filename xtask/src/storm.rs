//! `cargo xtask storm`: the simulated part of the conformance suite under many seeds, one process for
//! each CPU.
//!
//! The processes take every n-th seed, a part of the seeds at a time, and a line is printed after each part: a long
//! run can be followed, with what broke, and one that was ended goes on with `--from`. At the end a summary says how
//! many seeds and runs it was, how long it took, and which promise was broken under which seed first.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use clap::Args;

use crate::command_line;

const BUILD: &str = "cargo build -q --profile storm -p coronet-conformance --bin coronet-storm";

/// How many seeds, and of what.
#[derive(Args)]
pub(crate) struct Options {
    /// How many seeds.
    #[arg(long, default_value_t = 1_000)]
    seeds: u64,
    /// The first one.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// A line is printed after so many seeds.
    #[arg(long, default_value_t = 1_000, value_parser = clap::value_parser!(u64).range(1..))]
    part: u64,
    /// Only promises whose name contains this.
    #[arg(default_value = "")]
    filter: String,
}

/// Seeds that are run together.
#[derive(Clone, Copy)]
struct Part {
    from: u64,
    seeds: u64,
}

impl Options {
    /// The parts, one behind the other.
    fn parts(&self) -> impl Iterator<Item = Part> {
        let starts = (0..self.seeds).step_by(self.part as usize);
        starts.map(|start| Part { from: self.from + start, seeds: self.part.min(self.seeds - start) })
    }
}

/// What the processes printed, added up.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sum {
    runs: u64,
    broken: u64,
    /// Seed, promise and text of each line, by seed.
    failures: Vec<(u64, String)>,
    /// Processes that did not end as they should.
    lost: usize,
}

/// True if no promise is broken.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    if !command_line::run(root, BUILD) {
        return false;
    }
    let start = Instant::now();
    let workers = std::thread::available_parallelism().map_or(1, |count| count.get() as u64);
    let mut sum = Sum::default();
    let mut told = 0;
    for part in options.parts() {
        let start_one = |worker| start_worker(root, &options.filter, part, worker, workers);
        let children: Vec<_> = (0..workers).map(start_one).collect();
        for child in children {
            match child.and_then(Child::wait_with_output) {
                Ok(output) => sum.add(&output),
                Err(error) => {
                    println!("cannot start the storm: {error}");
                    sum.lost += 1;
                }
            }
        }
        let (next, seconds) = (part.from + part.seeds, start.elapsed().as_secs());
        println!("up to seed {next}: {} runs, {} broken, {seconds} s", sum.runs, sum.broken);
        // Whoever follows a long run need not wait for its end.
        print!("{}", told_of(&sum.failures[told..]));
        told = sum.failures.len();
    }
    print!("{}", sum.summary(options, start.elapsed()));
    sum.failures.is_empty() && sum.lost == 0
}

fn start_worker(root: &Path, filter: &str, part: Part, worker: u64, workers: u64) -> std::io::Result<Child> {
    // Seeds from + worker, from + worker + workers, and so on.
    let seeds = (part.seeds + workers - 1 - worker) / workers;
    Command::new(program(root))
        .args(["--from", &(part.from + worker).to_string()])
        .args(["--seeds", &seeds.to_string(), "--step", &workers.to_string()])
        .arg(filter)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
}

fn program(root: &Path) -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    root.join(target).join("storm/coronet-storm")
}

impl Sum {
    fn add(&mut self, output: &Output) {
        self.add_text(&String::from_utf8_lossy(&output.stdout));
    }

    fn add_text(&mut self, text: &str) {
        let mut is_over = false;
        for line in text.lines() {
            let mut words = line.splitn(3, ' ');
            match (words.next(), words.next(), words.next()) {
                (Some("broken"), Some(seed), Some(rest)) => {
                    self.failures.push((seed.parse().unwrap_or(0), rest.to_owned()));
                }
                (Some("runs"), Some(runs), Some(rest)) => {
                    is_over = true;
                    self.runs += runs.parse().unwrap_or(0);
                    self.broken += rest.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or(0);
                }
                _ => {}
            }
        }
        self.lost += usize::from(!is_over);
        self.failures.sort();
    }

    fn summary(&self, options: &Options, took: Duration) -> String {
        let seconds = took.as_secs_f64();
        let mut text = format!(
            "{} seeds from {}, {} runs in {seconds:.1} s ({:.1} seeds a second): {} broken\n",
            options.seeds,
            options.from,
            self.runs,
            options.seeds as f64 / seconds,
            self.broken,
        );
        text += &told_of(&self.failures[..self.failures.len().min(10)]);
        if self.lost > 0 {
            text += &format!("{} processes did not end as they should\n", self.lost);
        }
        text
    }
}

/// What broke, and how to see it again.
fn told_of(failures: &[(u64, String)]) -> String {
    let told = failures.iter().map(|(seed, failure)| {
        let (promise, why) = failure.split_once(' ').unwrap_or((failure, ""));
        format!(
            "seed {seed}: {promise}: {why}\n    CORONET_SEED={seed} cargo test -p coronet-conformance --test \
             simulated {promise}\n"
        )
    });
    told.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options { seeds: 20, from: 0, part: 8, filter: String::new() };

    #[test]
    fn the_parts_are_all_of_the_seeds_once() {
        let parts: Vec<_> = OPTIONS.parts().map(|part| (part.from, part.seeds)).collect();
        assert_eq!(parts, [(0, 8), (8, 8), (16, 4)]);
    }

    #[test]
    fn the_first_seed_that_fails_comes_first_whichever_process_ran_it() {
        let mut sum = Sum::default();
        sum.add_text("broken 9 files::a it hangs\nruns 40 broken 1\n");
        sum.add_text("broken 4 files::b left: 1 right: 2\nruns 41 broken 1\n");
        assert_eq!((sum.runs, sum.broken, sum.lost), (81, 2, 0));
        let text = sum.summary(&OPTIONS, Duration::from_secs(2));
        assert!(
            text.starts_with("20 seeds from 0, 81 runs in 2.0 s (10.0 seeds a second): 2 broken\n"),
            "{text}"
        );
        let first = text.lines().nth(1).expect("a failure");
        assert_eq!(first, "seed 4: files::b: left: 1 right: 2");
        assert!(text.contains("CORONET_SEED=4 cargo test"), "{text}");
    }

    #[test]
    fn a_process_that_died_is_not_taken_for_one_that_found_nothing() {
        let mut sum = Sum::default();
        sum.add_text("");
        assert_eq!(sum.lost, 1);
        assert!(sum.summary(&OPTIONS, Duration::from_secs(1)).contains("did not end"));
    }
}
