//! Runs one benchmark per row, and prints what came out beside what was to be reached.
//!
//! Criterion measures and judges the spread; the table takes its medians from the files it
//! writes. A row that was filtered out has no file of this run, and no line.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use criterion::Criterion;
use serde::Deserialize;

/// One line of the table.
pub(crate) struct Row {
    /// Names the benchmark too, and the directory of its estimates.
    pub(crate) name: &'static str,
    /// At most so many nanoseconds.
    pub(crate) reach: Option<f64>,
    /// Why it is more, as far as that is known. Printed only if it is.
    pub(crate) obstacle: &'static str,
}

impl Row {
    /// A row that is only there to compare another one with.
    pub(crate) fn informative(name: &'static str) -> Self {
        Self { name, reach: None, obstacle: "" }
    }

    /// A row that has met its mark whenever it was measured.
    pub(crate) fn within(name: &'static str, reach: f64) -> Self {
        Self { name, reach: Some(reach), obstacle: "not looked for: it was met so far" }
    }
}

/// All rows, as they are measured.
pub(crate) struct Table {
    criterion: Criterion,
    directory: PathBuf,
    started: SystemTime,
    lines: Vec<String>,
}

impl Table {
    pub(crate) fn new() -> Self {
        let directory = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
        let criterion = Criterion::default()
            .sample_size(20)
            .warm_up_time(Duration::from_millis(300))
            .measurement_time(Duration::from_millis(1200))
            .output_directory(&directory)
            .configure_from_args();
        Self { criterion, directory, started: SystemTime::now(), lines: Vec::new() }
    }

    /// Measures one row; `sample` does so many operations and says how long they took.
    pub(crate) fn measure(&mut self, row: &Row, mut sample: impl FnMut(u64) -> Duration) {
        // Criterion would change such a name on its way to the directory.
        let is_plain = |c: char| c.is_ascii_alphanumeric() || " ,.+()_-".contains(c);
        assert!(row.name.len() <= 64 && row.name.chars().all(is_plain), "not a file name: {}", row.name);
        self.criterion.bench_function(row.name, |bencher| bencher.iter_custom(&mut sample));
        if let Some(median) = self.median_ns(row.name) {
            self.lines.push(line(row, median));
        }
    }

    /// Prints the table.
    pub(crate) fn finish(self) {
        self.criterion.final_summary();
        if self.lines.is_empty() {
            return;
        }
        println!("| per operation | median | reach | |");
        println!("|---|---|---|---|");
        for line in self.lines {
            println!("{line}");
        }
    }

    /// The median that this run has written down, if it has.
    fn median_ns(&self, name: &str) -> Option<f64> {
        #[derive(Deserialize)]
        struct Estimates {
            median: Estimate,
        }
        #[derive(Deserialize)]
        struct Estimate {
            point_estimate: f64,
        }
        let path = self.directory.join(name).join("new/estimates.json");
        if fs::metadata(&path).and_then(|file| file.modified()).ok()? < self.started {
            return None;
        }
        let estimates: Estimates = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        Some(estimates.median.point_estimate)
    }
}

fn line(row: &Row, median_ns: f64) -> String {
    let (reach, verdict) = match row.reach {
        None => (String::new(), ""),
        Some(reach) => (format!("<= {}", time(reach)), if median_ns <= reach { "met" } else { row.obstacle }),
    };
    format!("| {} | {} | {reach} | {verdict} |", row.name, time(median_ns))
}

/// Nanoseconds, or microseconds where those are easier to read.
fn time(ns: f64) -> String {
    match ns {
        10_000.0.. => format!("{:.1} us", ns / 1000.0),
        30.0.. => format!("{ns:.0} ns"),
        _ => format!("{ns:.1} ns").replace(".0 ", " "),
    }
}
