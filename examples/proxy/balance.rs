//! Which upstream gets the next connection: a pure choice over what is known of each.
//!
//! It leaves to others who the candidates are: those that are up, and were not tried yet.

use clap::ValueEnum;
use serde::Deserialize;

/// The rule of the choice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Balance {
    /// One after the other.
    #[default]
    RoundRobin,
    /// The one with the fewest open connections; in turn among equals.
    Least,
    /// The less busy one of two drawn at random: nearly as even as `Least`, and many proxies in front
    /// of the same upstreams do not all run to the same one.
    P2c,
}

/// The index of the candidate to take; `None` if there is none.
///
/// `open` is how many connections each candidate has, `turn` a number that grows by one with each
/// choice, and `draw(n)` a random number below `n`.
pub(crate) fn choose(
    balance: Balance,
    open: &[usize],
    turn: usize,
    mut draw: impl FnMut(usize) -> usize,
) -> Option<usize> {
    if open.is_empty() {
        return None;
    }
    let count = open.len();
    Some(match balance {
        Balance::RoundRobin => turn % count,
        Balance::Least => {
            let in_turn = (0..count).map(|step| (turn + step) % count);
            in_turn.min_by_key(|&index| open[index]).unwrap_or(0)
        }
        Balance::P2c if count == 1 => 0,
        Balance::P2c => {
            let first = draw(count);
            // One of the others, each as likely.
            let second = (first + 1 + draw(count - 1)) % count;
            if open[second] < open[first] { second } else { first }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const ALL: [Balance; 3] = [Balance::RoundRobin, Balance::Least, Balance::P2c];

    #[test]
    fn nobody_is_chosen_of_none_and_the_only_one_of_one() {
        for balance in ALL {
            assert_eq!(choose(balance, &[], 7, |_| 0), None);
            assert_eq!(choose(balance, &[99], 7, |_| 0), Some(0));
        }
    }

    #[test]
    fn round_robin_takes_each_in_turn_whatever_their_load() {
        let taken: Vec<_> =
            (0..6).filter_map(|turn| choose(Balance::RoundRobin, &[9, 0, 0], turn, |_| 0)).collect();
        assert_eq!(taken, [0, 1, 2, 0, 1, 2]);
    }

    #[test]
    fn round_robin_goes_on_when_its_counter_wraps() {
        assert_eq!(choose(Balance::RoundRobin, &[0, 0], usize::MAX, |_| 0), Some(1));
    }

    #[test]
    fn least_takes_the_idlest_and_equals_in_turn() {
        assert_eq!(choose(Balance::Least, &[3, 1, 2], 0, |_| 0), Some(1));
        let among_equals: Vec<_> =
            (0..4).filter_map(|turn| choose(Balance::Least, &[1, 5, 1], turn, |_| 0)).collect();
        assert_eq!(among_equals, [0, 2, 2, 0]);
    }

    #[test]
    fn two_choices_are_two_different_ones_and_the_less_busy_is_taken() {
        for first in 0..4 {
            for second in 0..3 {
                let mut drawn = [first, second].into_iter();
                let open = [5, 4, 3, 2];
                let taken = choose(Balance::P2c, &open, 0, |_| drawn.next().unwrap()).unwrap();
                let other = (first + 1 + second) % 4;
                assert_ne!(first, other);
                assert_eq!(open[taken], open[first].min(open[other]));
            }
        }
    }

    /// With many connections that stay, two choices are nearly even; one random choice is not.
    #[test]
    fn two_choices_keep_the_load_even() {
        let mut random = fastrand::Rng::with_seed(7);
        let mut open = [0; 10];
        for turn in 0..10_000 {
            let taken = choose(Balance::P2c, &open, turn, |below| random.usize(..below)).unwrap();
            open[taken] += 1;
        }
        assert!(open.iter().all(|count| (990..=1010).contains(count)), "{open:?}");
    }
}
