//! The tape: every choice of a run, in the order in which they were made.
//!
//! A tape comes from a seed, or is given entry by entry (by a fuzzer, or by `shrink.rs`). A
//! zero, and everything behind the end of a given tape, is the harmless choice: no fault, no
//! delay, the full count. So setting entries to zero makes a run simpler.

use rand_pcg::Pcg32;
use rand_pcg::rand_core::Rng;

/// Where choices come from, and which were made.
#[derive(Debug)]
pub struct Tape {
    source: Source,
    drawn: Vec<u32>,
}

#[derive(Debug)]
enum Source {
    Seed(Pcg32),
    Given(std::vec::IntoIter<u32>),
}

/// PCG's default stream, written out so that seeds mean the same with every version.
const STREAM: u64 = 0x0a02_bdbf_7bb3_c0a7;
/// Chances are counted in this many parts.
pub(crate) const WHOLE: u32 = 1024;

impl Tape {
    /// The endless tape of a seed.
    pub fn from_seed(seed: u64) -> Self {
        Self { source: Source::Seed(Pcg32::new(seed, STREAM)), drawn: Vec::new() }
    }

    /// A tape of these entries, and harmless choices behind them.
    pub fn from_entries(entries: Vec<u32>) -> Self {
        Self { source: Source::Given(entries.into_iter()), drawn: Vec::new() }
    }

    /// What was drawn so far: [`Self::from_entries`] of it is the same run.
    pub fn drawn(&self) -> &[u32] {
        &self.drawn
    }

    fn next(&mut self) -> u32 {
        let entry = match &mut self.source {
            Source::Seed(rng) => rng.next_u32(),
            Source::Given(entries) => entries.next().unwrap_or(0),
        };
        self.drawn.push(entry);
        entry
    }

    /// A number below `limit`; zero is the harmless one.
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        assert!(limit > 0, "nothing to choose from");
        if limit == 1 { 0 } else { u64::from(self.next()) % limit }
    }

    /// True with `parts` in 1024.
    pub(crate) fn chance(&mut self, parts: u16) -> bool {
        parts > 0 && self.next() % WHOLE >= WHOLE.saturating_sub(u32::from(parts))
    }

    /// A count from 1 to `max`, which is the harmless one; often one of the two ends.
    pub(crate) fn short(&mut self, max: usize) -> usize {
        assert!(max > 0, "no count is positive and at most zero");
        match self.below(4) {
            _ if max == 1 => 1,
            0 => max,
            1 => 1,
            2 => max - 1,
            _ => max - self.below(max as u64) as usize,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_draws_the_same_numbers_for_ever() {
        let mut tape = Tape::from_seed(7);
        let drawn: Vec<u64> = (0..4).map(|_| tape.below(1000)).collect();
        assert_eq!(drawn, SEVEN, "a change here changes the meaning of every seed that somebody noted");
    }

    const SEVEN: [u64; 4] = [47, 492, 922, 712];

    #[test]
    fn what_was_drawn_is_a_tape_that_draws_it_again() {
        let mut first = Tape::from_seed(3);
        let choices = |tape: &mut Tape| (tape.below(9), tape.chance(512), tape.short(100), tape.below(7));
        let drawn = choices(&mut first);
        assert_eq!(choices(&mut Tape::from_entries(first.drawn().to_vec())), drawn);
    }

    #[test]
    fn an_empty_tape_chooses_no_fault_and_the_full_count() {
        let mut tape = Tape::from_entries(Vec::new());
        assert!(!tape.chance(1023));
        assert_eq!((tape.below(10), tape.short(10)), (0, 10));
    }
}
