//! Medians and bootstrap intervals. It knows numbers, not what they mean.

use statrs::statistics::{Data, OrderStatistics};

/// Resamples per interval: enough that the ends of a 95 % interval stand still.
const RESAMPLES: usize = 2000;
/// Fixed, so that the same measurements give the same report.
pub(crate) const SEED: u64 = 0x636f_726f_6e65_7431;
/// The share of the resampled medians that an interval holds.
pub(crate) const CONFIDENCE: f64 = 0.95;

/// A median with a bootstrap interval around it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Interval {
    pub(crate) median: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
}

/// The median; `None` without values, or if one is not finite.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    if values.is_empty() || values.iter().any(|value| !value.is_finite()) {
        return None;
    }
    Some(Data::new(values.to_vec()).median())
}

/// The smallest and the largest value.
pub(crate) fn extremes(values: &[f64]) -> Option<(f64, f64)> {
    median(values)?;
    let min = values.iter().copied().fold(f64::INFINITY, f64::min);
    Some((min, values.iter().copied().fold(f64::NEG_INFINITY, f64::max)))
}

/// The median and the percentile interval of resampled medians.
pub(crate) fn bootstrap(values: &[f64]) -> Option<Interval> {
    let middle = median(values)?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut medians = Vec::with_capacity(RESAMPLES);
    let mut sample = vec![0.0; values.len()];
    for _ in 0..RESAMPLES {
        for place in &mut sample {
            *place = values[random.usize(..values.len())];
        }
        medians.push(Data::new(&mut sample[..]).median());
    }
    let mut medians = Data::new(medians);
    let tail = (1.0 - CONFIDENCE) / 2.0;
    Some(Interval { median: middle, low: medians.quantile(tail), high: medians.quantile(1.0 - tail) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(a: f64, b: f64) -> bool {
        (a - b).abs() < 1e-9
    }

    #[test]
    fn the_median_is_the_middle_or_between_the_two_in_the_middle() {
        assert!(close(median(&[3.0, 1.0, 2.0]).unwrap(), 2.0));
        assert!(close(median(&[4.0, 1.0, 2.0, 3.0]).unwrap(), 2.5));
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[1.0, f64::NAN]), None);
    }

    #[test]
    fn an_interval_of_equal_values_has_no_width() {
        let interval = bootstrap(&[1.25; 6]).unwrap();
        assert!(close(interval.low, 1.25) && close(interval.median, 1.25) && close(interval.high, 1.25));
    }

    /// The exact distribution is known: of 27 resamples of three values the median is the
    /// smallest in 7, so both ends of the interval are the extremes.
    #[test]
    fn the_interval_of_three_values_is_their_extremes() {
        let interval = bootstrap(&[1.0, 2.0, 4.0]).unwrap();
        assert!(close(interval.low, 1.0) && close(interval.high, 4.0), "{interval:?}");
    }

    /// Known from the binomial distribution: of 11 different values, the resampled median is at most the
    /// second smallest with probability 0.0072, and at most the third with 0.0512.
    #[test]
    fn the_interval_of_eleven_values_reaches_from_the_third_to_the_ninth() {
        let values: Vec<f64> = (1..=11).map(f64::from).collect();
        let interval = bootstrap(&values).unwrap();
        assert!(close(interval.low, 3.0) && close(interval.high, 9.0), "{interval:?}");
    }

    #[test]
    fn the_same_values_give_the_same_interval() {
        let values = [0.93, 1.07, 1.01, 0.98, 1.02, 1.11];
        assert_eq!(bootstrap(&values), bootstrap(&values));
    }
}
