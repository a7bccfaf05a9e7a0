//! Which way bytes go: a pure choice over how many came at a time.
//!
//! Up to 32 KiB one receive and one send through the ring cost no more than a poll and two splices, and the peer
//! less, who gets what was spliced in pages, one by one. From 64 KiB on, copying costs more
//! (docs/BENCHMARKS.md). Between the two marks nothing changes.

/// A piece of so many bytes speaks for splicing: the largest segment, 64 KiB and less its headers, does.
const BULK_BYTES: usize = 60 * 1024;
/// A piece of fewer bytes speaks for leases.
const MESSAGE_BYTES: usize = 40 * 1024;
/// So many pieces in a row have to say so: a switch costs a cancel, or an arm.
const IN_A_ROW: u8 = 4;
/// As many, where no piece can be that large, because pooled buffers are small: then full ones have to do, and messages
/// of just that size may be taken for bulk.
const FULL_IN_A_ROW: u8 = 16;

/// How bytes are carried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// Received into pooled buffers, and sent from there.
    Lease,
    /// Through a pipe: they never enter the process.
    Splice,
}

/// The way of one direction, and what speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Traffic {
    way: Way,
    /// Bytes of the largest piece that a lease can be.
    largest: usize,
    /// Pieces in a row that speak for the other way.
    against: u8,
}

impl Traffic {
    /// The state before the first byte, and after a switch.
    pub(super) const fn new(way: Way, largest: usize) -> Self {
        Self { way, largest, against: 0 }
    }

    /// Takes in a piece of so many bytes; the way of the next one.
    pub(super) fn carried(&mut self, bytes: usize) -> Way {
        let (is_against, enough) = match (self.way, self.largest < BULK_BYTES) {
            (Way::Lease, false) => (bytes >= BULK_BYTES, IN_A_ROW),
            (Way::Lease, true) => (bytes >= self.largest, FULL_IN_A_ROW),
            (Way::Splice, _) => (bytes < MESSAGE_BYTES, IN_A_ROW),
        };
        self.against = if is_against { self.against + 1 } else { 0 };
        if self.against >= enough {
            let other = match self.way {
                Way::Lease => Way::Splice,
                Way::Splice => Way::Lease,
            };
            *self = Self::new(other, self.largest);
        }
        self.way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(start: Way, pieces: &[usize]) -> Vec<Way> {
        ways_of(start, usize::MAX, pieces)
    }

    fn ways_of(start: Way, largest: usize, pieces: &[usize]) -> Vec<Way> {
        let mut traffic = Traffic::new(start, largest);
        pieces.iter().map(|&bytes| traffic.carried(bytes)).collect()
    }

    const KIB: usize = 1024;

    #[test]
    fn messages_never_leave_the_leases() {
        let pieces = [1, 64, 60 * KIB - 1, 32 * KIB, 16 * KIB, 100];
        assert!(ways(Way::Lease, &pieces).iter().all(|&way| way == Way::Lease));
    }

    #[test]
    fn only_bulk_pieces_in_a_row_start_to_splice() {
        let (no, yes, bulk) = (Way::Lease, Way::Splice, 60 * KIB);
        assert_eq!(ways(Way::Lease, &[bulk, 256 * KIB, bulk, bulk, bulk]), [no, no, no, yes, yes]);
        assert_eq!(ways(Way::Lease, &[bulk, bulk, bulk, 64, bulk, bulk, bulk]), [no; 7]);
    }

    /// The trap: where no piece reaches the mark, bulk is never spliced.
    #[test]
    fn where_pieces_are_small_full_ones_in_a_row_start_to_splice() {
        let full = 16 * KIB;
        let ways = ways_of(Way::Lease, full, &[full; 16]);
        assert_eq!((ways[14], ways[15]), (Way::Lease, Way::Splice));
        let mut broken = [full; 30];
        broken[15] = full - 1;
        assert_eq!(ways_of(Way::Lease, full, &broken), [Way::Lease; 30]);
        assert_eq!(ways_of(Way::Splice, full, &[full; 4])[3], Way::Lease, "back as ever");
    }

    #[test]
    fn only_messages_in_a_row_stop_to_splice() {
        let (no, yes, small) = (Way::Splice, Way::Lease, 40 * KIB - 1);
        assert_eq!(ways(Way::Splice, &[64, 1, small, 64, 64]), [no, no, no, yes, yes]);
        assert_eq!(ways(Way::Splice, &[64, 64, 64, 40 * KIB, 64, 64, 64]), [no; 7]);
    }

    #[test]
    fn between_the_marks_nothing_changes() {
        assert_eq!(ways(Way::Lease, &[50 * KIB; 20]), [Way::Lease; 20]);
        assert_eq!(ways(Way::Splice, &[50 * KIB; 20]), [Way::Splice; 20]);
    }
}
