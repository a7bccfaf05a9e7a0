//! The bytes that go over the wire, so that every one of them can be checked.
//!
//! Each connection sends a periodic stream that starts at a place of its own. The period is
//! prime, so successive messages differ whatever their size, and a byte that is lost,
//! doubled, swapped or from another connection is seen. Nothing is generated while the load
//! runs: a message is a slice of one table, a check is one comparison.

/// The length after which the stream repeats: small enough to stay in the nearest cache.
const PERIOD: usize = 8191;

/// The table that all streams are cut from.
#[derive(Debug)]
pub struct Pattern {
    table: Vec<u8>,
}

/// A place in the stream of one connection.
#[derive(Clone, Copy, Debug)]
pub struct Place(u32);

impl Place {
    /// Where the stream of connection `index` starts.
    #[must_use]
    pub fn start(index: usize) -> Self {
        // 1009 is prime to the period: 8191 connections get different places.
        Self(u32::try_from(index * 1009 % PERIOD).expect("the period fits"))
    }

    /// Where it stands in [`Pattern::table`].
    #[must_use]
    pub fn offset(self) -> u64 {
        u64::from(self.0)
    }

    /// Goes on by `len` bytes.
    #[inline]
    pub fn advance(&mut self, len: usize) {
        let next = self.0 as usize + len;
        let next = if next < PERIOD { next } else { next % PERIOD };
        self.0 = u32::try_from(next).expect("the period fits");
    }
}

impl Pattern {
    /// A table from which slices of up to `len_max` bytes can be cut anywhere.
    #[must_use]
    pub fn new(len_max: usize) -> Self {
        let mut state = 0x9E37_79B9_7F4A_7C15_u64;
        let period: Vec<u8> = (0..PERIOD)
            .map(|_| {
                state ^= state << 13;
                state ^= state >> 7;
                state ^= state << 17;
                (state >> 56) as u8
            })
            .collect();
        let table = period.iter().copied().cycle().take(PERIOD + len_max).collect();
        Self { table }
    }

    /// All of it: from each [`Place::offset`] on, it has as many bytes as the longest slice.
    #[must_use]
    pub fn table(&self) -> &[u8] {
        &self.table
    }

    /// The next `len` bytes of the stream at `place`.
    ///
    /// # Panics
    /// If `len` is above the maximum.
    #[must_use]
    #[inline]
    pub fn slice(&self, place: Place, len: usize) -> &[u8] {
        &self.table[place.0 as usize..][..len]
    }

    /// Whether `bytes` is what the stream at `place` goes on with.
    #[must_use]
    #[inline]
    pub fn matches(&self, place: Place, bytes: &[u8]) -> bool {
        let mut place = place;
        bytes.chunks(self.table.len() - PERIOD).all(|part| {
            let same = self.slice(place, part.len()) == part;
            place.advance(part.len());
            same
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slices_of_one_stream_join_up() {
        let pattern = Pattern::new(20_000);
        let whole = pattern.slice(Place::start(3), 20_000).to_vec();
        let mut place = Place::start(3);
        let mut joined = Vec::new();
        for len in [1, 64, 8191, 8190, 100] {
            joined.extend_from_slice(pattern.slice(place, len));
            place.advance(len);
        }
        assert_eq!(joined, whole[..joined.len()]);
    }

    #[test]
    fn one_wrong_byte_is_seen() {
        let pattern = Pattern::new(100);
        let mut bytes = pattern.slice(Place::start(1), 100).to_vec();
        assert!(pattern.matches(Place::start(1), &bytes));
        assert!(!pattern.matches(Place::start(2), &bytes));
        bytes[99] ^= 1;
        assert!(!pattern.matches(Place::start(1), &bytes));
    }

    #[test]
    fn a_slice_longer_than_the_table_is_compared_in_parts() {
        let long = Pattern::new(50_000);
        let short = Pattern::new(100);
        assert!(short.matches(Place::start(7), long.slice(Place::start(7), 50_000)));
    }
}
