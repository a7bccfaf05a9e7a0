//! The trace: one line for each thing the simulated kernel did, and a hash of all of them.
//!
//! The hash names a run: same seed and same program, same hash. Lines hold no address and no
//! descriptor number, which differ from process to process.

use std::collections::VecDeque;
use std::fmt::{self, Write};
use std::time::Duration;

/// Odd, and with ones and zeros all over (of the golden ratio): the hash is short, and the same everywhere.
const FACTOR: u64 = 0x9E37_79B9_7F4A_7C15;

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
        Self { hash: 0xcbf2_9ce4_8422_2325, lines: 0, last: VecDeque::new(), prints }
    }

    pub(crate) fn note(&mut self, now: Duration, what: fmt::Arguments<'_>) {
        // The oldest line lends its memory to the newest.
        let oldest = if self.last.len() == KEPT_MAX { self.last.pop_front() } else { None };
        let mut line = oldest.unwrap_or_default();
        line.clear();
        let (seconds, micros) = (now.as_secs(), now.subsec_micros());
        write!(line, "{seconds:>5}.{micros:06} {what}").expect("a string takes everything");
        for part in line.as_bytes().chunks(8) {
            let mut word = [0; 8];
            word[..part.len()].copy_from_slice(part);
            self.hash = (self.hash ^ u64::from_le_bytes(word)).wrapping_mul(FACTOR).rotate_left(29);
        }
        self.lines += 1;
        if self.prints {
            eprintln!("{line}");
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
