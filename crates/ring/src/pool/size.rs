//! How many buffers a group is to have: a pure choice over what was seen of it.
//!
//! The ring holds what the kernel may pick, up to its *depth*; the program holds leases; what comes home to a
//! full ring lies aside, known to this side only, so its memory can be given back without asking anybody.

/// How long buffers that nobody needs keep their memory. A burst that comes again within it finds them; one that
/// comes less often pays a page fault per 4 KiB, at most 1 % of the time for 16 MiB.
pub(crate) const PERIOD: std::time::Duration = std::time::Duration::from_millis(250);

/// What was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// Receives took buffers out of the ring, and the program had its turn with them: what is not home is held.
    Held,
    /// A receive found none, and one more costs so much.
    Dry(Cost),
    /// For a period the ring had not to become deeper, and not all that lies aside was needed.
    Rested,
}

/// What a ring may bring in one pass of the kernel: beyond it, going on a turn later costs less than the cache. Twice
/// a second-level cache of 1 MiB, as measured (docs/decisions/0011-pool-size.md).
const PASS_BYTES: u64 = 2 * 1024 * 1024;

/// So many that find none in one pass may go on a turn later. Each asks again in each turn: for more than these that
/// costs more than the cache, as measured.
const CROWD: u16 = 512;

/// What a buffer more costs, against the receives that found none.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Cost {
    /// The cache holds what all of them bring, as full as they usually are; or a crowd asks for more.
    Little,
    /// It is one more that the cache does not hold.
    Much,
}

/// Buffers in the ring, against its depth.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ring {
    /// Less than a quarter.
    Low,
    Enough,
    Full,
}

/// Where another buffer can be had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stock {
    /// One lies aside.
    Aside,
    /// None does, and the group may grow.
    Growable,
    /// It is as large as it may become, and all is in use.
    Exhausted,
}

/// What is done about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    Keep,
    /// The one that was laid aside last, so that what is in the cache is used again, goes into the ring.
    TakeUp,
    /// One with new memory goes into the ring.
    Grow,
    /// Those that were not needed give their memory back.
    Shrink,
}

/// What to do, for one buffer at a time.
#[inline]
pub(super) fn change(seen: Seen, ring: Ring, stock: Stock) -> Change {
    match (seen, ring, stock) {
        (Seen::Held, Ring::Low, Stock::Aside) => Change::TakeUp,
        (Seen::Held, Ring::Low, Stock::Growable) => Change::Grow,
        (Seen::Held, Ring::Low, Stock::Exhausted) => Change::Keep,
        (Seen::Held, Ring::Enough, Stock::Aside | Stock::Growable | Stock::Exhausted) => Change::Keep,
        (Seen::Held, Ring::Full, Stock::Aside | Stock::Growable | Stock::Exhausted) => Change::Keep,
        // However many are there again by now: they were too few in one go.
        (Seen::Dry(Cost::Little), Ring::Low | Ring::Enough, Stock::Aside) => Change::TakeUp,
        (Seen::Dry(Cost::Little), Ring::Low | Ring::Enough, Stock::Growable) => Change::Grow,
        (Seen::Dry(Cost::Little), Ring::Low | Ring::Enough, Stock::Exhausted) => Change::Keep,
        // Not for want of buffers, or all have come home since.
        (Seen::Dry(Cost::Little), Ring::Full, Stock::Aside | Stock::Growable | Stock::Exhausted) => {
            Change::Keep
        }
        // They come home when the program has read them, and it goes on in the next turn. What it keeps is `Held`.
        (
            Seen::Dry(Cost::Much),
            Ring::Low | Ring::Enough | Ring::Full,
            Stock::Aside | Stock::Growable | Stock::Exhausted,
        ) => Change::Keep,
        (Seen::Rested, Ring::Low | Ring::Enough | Ring::Full, Stock::Aside) => Change::Shrink,
        (Seen::Rested, Ring::Low | Ring::Enough | Ring::Full, Stock::Growable) => Change::Keep,
        (Seen::Rested, Ring::Low | Ring::Enough | Ring::Full, Stock::Exhausted) => Change::Keep,
    }
}

/// Where a buffer goes whose last lease is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Home {
    IntoTheRing,
    Aside,
}

/// Decides it by how full the ring is.
#[inline]
pub(super) fn home(ring: Ring) -> Home {
    match ring {
        Ring::Low | Ring::Enough => Home::IntoTheRing,
        Ring::Full => Home::Aside,
    }
}

/// The depth of the ring from now on. Each receive that found none asks for one more, as long as that costs no cache.
pub(super) fn depth(depth: u16, base: u16, max: u16, seen: Seen, ring: Ring) -> u16 {
    match (seen, ring) {
        (Seen::Dry(Cost::Little), Ring::Low | Ring::Enough) => (depth + 1).min(max),
        (Seen::Dry(Cost::Little), Ring::Full) => depth,
        (Seen::Dry(Cost::Much), Ring::Low | Ring::Enough | Ring::Full) => depth,
        (Seen::Rested, Ring::Low | Ring::Enough | Ring::Full) => base,
        (Seen::Held, Ring::Low | Ring::Enough | Ring::Full) => depth,
    }
}

/// What a buffer more costs a ring of this depth, where so much usually is in one and so many found none.
pub(super) fn cost(depth: u16, usual: u32, misses: u16) -> Cost {
    let brings = u64::from(depth) * u64::from(usual);
    if brings < PASS_BYTES || misses > CROWD { Cost::Little } else { Cost::Much }
}

/// How many bytes usually are in a buffer, when one came home with so many: a mean of the last ones.
#[inline]
pub(super) fn usual(usual: u32, came_home_with: u32) -> u32 {
    usual - usual / 8 + came_home_with / 8
}

/// How full a ring of this depth is.
#[inline]
pub(super) fn ring(available: u16, depth: u16) -> Ring {
    if available >= depth {
        Ring::Full
    } else if available >= low_mark(depth) {
        Ring::Enough
    } else {
        Ring::Low
    }
}

/// As many are to be in the ring. Not the whole depth: what is in use would come on top of it, and no longer
/// fit into the second-level cache.
#[inline]
pub(super) fn low_mark(depth: u16) -> u16 {
    (depth / 4).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const RINGS: [Ring; 3] = [Ring::Low, Ring::Enough, Ring::Full];
    const STOCKS: [Stock; 3] = [Stock::Aside, Stock::Growable, Stock::Exhausted];

    /// Low, Enough, Full; each with something aside, growable, exhausted.
    fn row(seen: Seen) -> [[Change; 3]; 3] {
        RINGS.map(|ring| STOCKS.map(|stock| change(seen, ring, stock)))
    }

    #[test]
    fn every_cell_is_as_written_here() {
        use Change::{Grow, Keep, Shrink, TakeUp};
        assert_eq!(row(Seen::Held), [[TakeUp, Grow, Keep], [Keep; 3], [Keep; 3]]);
        assert_eq!(row(Seen::Dry(Cost::Little)), [[TakeUp, Grow, Keep], [TakeUp, Grow, Keep], [Keep; 3]]);
        assert_eq!(row(Seen::Dry(Cost::Much)), [[Keep; 3]; 3]);
        assert_eq!(row(Seen::Rested), [[Shrink, Keep, Keep]; 3]);
        assert_eq!(RINGS.map(home), [Home::IntoTheRing, Home::IntoTheRing, Home::Aside]);
    }

    #[test]
    fn the_ring_deepens_with_each_receive_that_found_none_while_little_is_in_them_and_rests_at_its_base() {
        let depths = |before, seen| RINGS.map(|ring| depth(before, 8, 64, seen, ring));
        assert_eq!(depths(8, Seen::Dry(Cost::Little)), [9, 9, 8]);
        assert_eq!(depths(8, Seen::Dry(Cost::Much)), [8; 3]);
        assert_eq!(depths(64, Seen::Dry(Cost::Little)), [64; 3]);
        assert_eq!(depths(64, Seen::Rested), [8; 3]);
        assert_eq!(depths(20, Seen::Held), [20; 3]);
    }

    #[test]
    fn a_buffer_more_costs_much_when_the_cache_does_not_hold_it_and_no_crowd_asks() {
        use Cost::{Little, Much};
        let plain = |usual| [64, 128, 1024].map(|depth| cost(depth, usual, 1));
        assert_eq!(plain(64), [Little; 3]);
        assert_eq!(plain(8 << 10), [Little, Little, Much]);
        assert_eq!(plain(16 << 10), [Little, Much, Much]);
        // One that serves many receives comes home full.
        assert_eq!([1, CROWD, CROWD + 1].map(|misses| cost(8, 256 << 10, misses)), [Much, Much, Little]);
    }

    #[test]
    fn what_is_usual_follows_what_comes_home() {
        let after = |count, from, each| (0..count).fold(from, |before, _| usual(before, each));
        assert_eq!(after(64, 16 << 10, 16 << 10), 16 << 10);
        assert!(after(64, 16 << 10, 64) < 128);
        assert!(after(64, 0, 16 << 10) > 15 << 10);
    }

    #[test]
    fn a_ring_is_low_below_a_quarter_of_its_depth_and_when_it_is_empty() {
        let rings = [15, 16, 63, 64, 65].map(|available| ring(available, 64));
        assert_eq!(rings, [Ring::Low, Ring::Enough, Ring::Enough, Ring::Full, Ring::Full]);
        assert_eq!([0, 1].map(|available| ring(available, 1)), [Ring::Low, Ring::Full]);
    }
}
