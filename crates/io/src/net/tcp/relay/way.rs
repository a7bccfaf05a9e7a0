//! Which way bytes go: a pure choice over how many came at a time.
//!
//! Below some KiB one receive and one send through the ring cost less than a poll and two splices;
//! above, copying does (docs/BENCHMARKS.md). Between the two marks nothing changes.

/// A piece of so many bytes speaks for splicing.
const BULK_BYTES: usize = 8 * 1024;
/// A piece of fewer bytes speaks for leases.
const MESSAGE_BYTES: usize = 4 * 1024;
/// So many pieces in a row have to say so: a switch costs a cancel, or an arm.
const IN_A_ROW: u8 = 4;

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
    /// Pieces in a row that speak for the other way.
    against: u8,
}

impl Traffic {
    /// The state before the first byte, and after a switch.
    pub(super) const fn new(way: Way) -> Self {
        Self { way, against: 0 }
    }

    /// Takes in a piece of so many bytes; the way of the next one.
    pub(super) fn carried(&mut self, bytes: usize) -> Way {
        let is_against = match self.way {
            Way::Lease => bytes >= BULK_BYTES,
            Way::Splice => bytes < MESSAGE_BYTES,
        };
        self.against = if is_against { self.against + 1 } else { 0 };
        if self.against >= IN_A_ROW {
            *self = Self::new(match self.way {
                Way::Lease => Way::Splice,
                Way::Splice => Way::Lease,
            });
        }
        self.way
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ways(start: Way, pieces: &[usize]) -> Vec<Way> {
        let mut traffic = Traffic::new(start);
        pieces.iter().map(|&bytes| traffic.carried(bytes)).collect()
    }

    #[test]
    fn messages_never_leave_the_leases() {
        assert!(ways(Way::Lease, &[1, 64, 8191, 4096, 100]).iter().all(|&way| way == Way::Lease));
    }

    #[test]
    fn only_bulk_pieces_in_a_row_start_to_splice() {
        let (no, yes) = (Way::Lease, Way::Splice);
        assert_eq!(ways(Way::Lease, &[8192, 65536, 8192, 8192, 8192]), [no, no, no, yes, yes]);
        assert_eq!(ways(Way::Lease, &[8192, 8192, 8192, 64, 8192, 8192, 8192]), [no; 7]);
    }

    #[test]
    fn only_messages_in_a_row_stop_to_splice() {
        let (no, yes) = (Way::Splice, Way::Lease);
        assert_eq!(ways(Way::Splice, &[64, 1, 4095, 64, 64]), [no, no, no, yes, yes]);
        assert_eq!(ways(Way::Splice, &[64, 64, 64, 4096, 64, 64, 64]), [no; 7]);
    }

    #[test]
    fn between_the_marks_nothing_changes() {
        assert_eq!(ways(Way::Lease, &[6000; 20]), [Way::Lease; 20]);
        assert_eq!(ways(Way::Splice, &[6000; 20]), [Way::Splice; 20]);
    }
}
