//! From paired ratios to a win, a loss, or neither. One pure function.
//!
//! Pairs come from the same pass over the rows, or the same turn, so what the machine does to both cancels out. The
//! noise floor is how far one program strays from itself in the same passes (the A/A row). From seven
//! pairs on, one disturbed pass changes no verdict; with fewer it can only turn one into noise.

use serde::{Deserialize, Serialize};

use crate::compare::stats;

/// Fewer pairs than this give no interval worth the name.
pub(crate) const PAIRS_MIN: usize = 4;

/// What a comparison says about the first of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Verdict {
    /// Better, by more than the noise.
    Win,
    /// Worse, by more than the noise.
    Loss,
    /// No difference that this run can show.
    WithinNoise,
    /// The figures do not allow a verdict; the row says why.
    Withheld,
    /// Too few pairs, or no A/A row.
    TooFew,
}

impl Verdict {
    /// The words in tables.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Win => "win",
            Self::Loss => "loss",
            Self::WithinNoise => "within noise",
            Self::Withheld => "withheld",
            Self::TooFew => "too few rounds",
        }
    }
}

/// A ratio, its interval, and what they say.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judgement {
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) verdict: Verdict,
}

/// Judges `ratios`, one per pass, by the interval of their median, against the [`floor`] of the same passes.
/// `None` if no ratio can be formed at all.
pub(crate) fn judge(ratios: &[f64], floor: Option<f64>, more_is_better: bool) -> Option<Judgement> {
    let interval = stats::bootstrap(ratios)?;
    let (ratio, low, high) = (interval.median, interval.low, interval.high);
    let floor = floor.filter(|_| ratios.len() >= PAIRS_MIN);
    let verdict = match floor {
        None => Verdict::TooFew,
        Some(floor) if low > floor => if_more_is_better(more_is_better, Verdict::Win, Verdict::Loss),
        Some(floor) if high < 1.0 / floor => if_more_is_better(more_is_better, Verdict::Loss, Verdict::Win),
        Some(_) => Verdict::WithinNoise,
    };
    Some(Judgement { ratio, low, high, verdict })
}

/// How far a program strays from itself, as a factor of at least 1: from `noise`, its ratios to itself, one
/// per pass.
pub(crate) fn floor(noise: &[f64]) -> Option<f64> {
    if noise.len() < PAIRS_MIN {
        return None;
    }
    let interval = stats::bootstrap(noise)?;
    Some(interval.high.max(1.0 / interval.low).max(1.0))
}

fn if_more_is_better(more_is_better: bool, then: Verdict, otherwise: Verdict) -> Verdict {
    if more_is_better { then } else { otherwise }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: [f64; 8] = [1.00, 0.99, 1.01, 1.02, 0.98, 1.00, 1.01, 0.99];

    fn verdict(ratios: &[f64], noise: &[f64]) -> Verdict {
        judge(ratios, floor(noise), true).unwrap().verdict
    }

    #[test]
    fn a_clear_lead_outside_the_noise_is_a_win() {
        let lead = [1.10, 1.12, 1.09, 1.11, 1.13, 1.10, 1.08, 1.12];
        assert_eq!(verdict(&lead, &QUIET), Verdict::Win);
        assert_eq!(judge(&lead, floor(&QUIET), false).unwrap().verdict, Verdict::Loss);
    }

    #[test]
    fn a_clear_lag_outside_the_noise_is_a_loss() {
        let lag = [0.90, 0.91, 0.88, 0.89, 0.92, 0.90, 0.91, 0.87];
        assert_eq!(verdict(&lag, &QUIET), Verdict::Loss);
        assert_eq!(judge(&lag, floor(&QUIET), false).unwrap().verdict, Verdict::Win);
    }

    #[test]
    fn a_difference_that_changes_its_sign_is_within_noise() {
        let mixed = [1.05, 0.96, 1.03, 0.97, 1.04, 0.95, 1.02, 0.99];
        assert_eq!(verdict(&mixed, &QUIET), Verdict::WithinNoise);
    }

    /// The trap: the interval excludes 1, but the same program against itself strays as far.
    #[test]
    fn a_lead_smaller_than_the_noise_floor_is_within_noise() {
        let lead = [1.04, 1.05, 1.03, 1.04, 1.05, 1.04, 1.03, 1.04];
        let loud = [1.08, 0.93, 1.06, 1.07, 1.09, 1.08, 0.95, 1.07];
        assert_eq!(verdict(&lead, &QUIET), Verdict::Win);
        assert_eq!(verdict(&lead, &loud), Verdict::WithinNoise);
    }

    #[test]
    fn one_outlier_round_makes_no_verdict_and_prevents_none() {
        let equal = [1.00, 1.01, 0.99, 1.00, 3.00, 1.01, 0.99, 1.00];
        assert_eq!(verdict(&equal, &QUIET), Verdict::WithinNoise);
        let lead = [1.10, 1.12, 1.09, 0.30, 1.13, 1.10, 1.08, 1.12];
        assert_eq!(verdict(&lead, &QUIET), Verdict::Win);
    }

    #[test]
    fn too_few_pairs_or_no_noise_row_give_no_verdict() {
        assert_eq!(verdict(&[1.5, 1.5, 1.5], &QUIET), Verdict::TooFew);
        assert_eq!(verdict(&[1.5; 8], &[]), Verdict::TooFew);
        assert_eq!(judge(&[], floor(&QUIET), true), None);
        assert_eq!(judge(&[f64::NAN; 8], floor(&QUIET), true), None);
    }
}
