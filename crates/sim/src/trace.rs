//! The trace: one line for each thing the simulated kernel did, and a hash of all of them.
//!
//! The hash names a run: same seed and same program, same hash. Lines hold no address and no
//! descriptor number, which differ from process to process.

use std::collections::VecDeque;
use std::fmt;
use std::time::Duration;

/// Lines that are kept for a report.
const KEPT_MAX: usize = 200;

/// What happened, in order.
#[derive(Debug)]
pub(crate) struct Trace {
    hash: u64,
    lines: u64,
    last: VecDeque<String>,
    prints: bool,
}

impl Trace {
    pub(crate) fn new(prints: bool) -> Self {
        // FNV-1a: short, and the same everywhere.
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, last: VecDeque::new(), prints }
    }

    pub(crate) fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        let line = format!("{:>12.6} {what}", now.as_secs_f64());
        for byte in line.bytes().chain([b'\n']) {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines += 1;
        if self.prints {
            eprintln!("{line}");
        }
        if self.last.len() == KEPT_MAX {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    pub(crate) fn hash(&self) -> u64 {
        self.hash
    }

    pub(crate) fn lines(&self) -> u64 {
        self.lines
    }

    pub(crate) fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}
