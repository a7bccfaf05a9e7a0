//! What the traffic of a stream looks like: a pure choice over the pieces that came.
//!
//! It matters where one receive brings at most one buffer of 16 KiB. On incremental groups a receive
//! takes what there is, up to 256 KiB, so there is nothing to choose.

/// Pieces in a row that have to be cut before a peer counts as streaming: one large message is cut, too.
const CUT_IN_A_ROW: u8 = 4;
/// Pieces in a row that have to come whole before it counts as sending messages again. More than the other way
/// round: a stream whose reader keeps up has moments when nothing waits, and a switch costs a cancel.
const WHOLE_IN_A_ROW: u8 = 16;

/// A stream that finds no buffer so often in a row receives once into one of its own. As often as can be counted: going
/// on a turn later costs less than a copy of 16 KiB, until there are thousands.
const MISSES_MAX: u8 = u8::MAX;

/// What the peer sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Traffic {
    /// Pieces that fit a buffer.
    Messages,
    /// More at a time than a buffer holds.
    Stream,
}

/// How one receive ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Piece {
    /// More waited than it could bring.
    Cut,
    /// It brought all there was, in several buffers.
    Large,
    /// It brought all there was, in one buffer.
    Whole,
}

/// The traffic of one stream, and what speaks against it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Flow {
    traffic: Traffic,
    /// Pieces in a row that speak for the other.
    against: u8,
    /// Receives in a row that found no buffer.
    misses: u8,
}

impl Flow {
    /// Before the first byte.
    pub(super) const fn new() -> Self {
        Self { traffic: Traffic::Messages, against: 0, misses: 0 }
    }

    #[inline]
    pub(super) fn traffic(self) -> Traffic {
        self.traffic
    }

    /// Takes in how a receive ended; the traffic, if it is another one from now on.
    #[inline]
    pub(super) fn received(&mut self, piece: Piece) -> Option<Traffic> {
        let (is_against, enough, other) = match (self.traffic, piece) {
            (Traffic::Messages, Piece::Cut) => (true, CUT_IN_A_ROW, Traffic::Stream),
            (Traffic::Messages, Piece::Large) => (false, CUT_IN_A_ROW, Traffic::Stream),
            (Traffic::Messages, Piece::Whole) => (false, CUT_IN_A_ROW, Traffic::Stream),
            (Traffic::Stream, Piece::Cut) => (false, WHOLE_IN_A_ROW, Traffic::Messages),
            (Traffic::Stream, Piece::Large) => (false, WHOLE_IN_A_ROW, Traffic::Messages),
            (Traffic::Stream, Piece::Whole) => (true, WHOLE_IN_A_ROW, Traffic::Messages),
        };
        self.against = if is_against { self.against + 1 } else { 0 };
        if self.against < enough {
            return None;
        }
        *self = Self { traffic: other, against: 0, misses: self.misses };
        Some(other)
    }

    /// A receive found no buffer; true if that happened too often in a row.
    pub(super) fn missed(&mut self) -> bool {
        self.misses = self.misses.saturating_add(1);
        self.misses == MISSES_MAX
    }

    /// A receive brought bytes; true if that was not so the last time.
    #[inline]
    pub(super) fn found(&mut self) -> bool {
        std::mem::take(&mut self.misses) > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stream_misses_too_often_only_in_a_row() {
        let mut flow = Flow::new();
        assert!(!flow.found(), "there was nothing to forget");
        let mut miss = |count: u8| (0..count).filter(|_| flow.missed()).count();
        assert_eq!((miss(MISSES_MAX - 1), miss(1), miss(1)), (0, 1, 1));
        assert!(flow.found());
        assert!(!flow.missed(), "it begins anew");
    }

    fn switches(pieces: impl IntoIterator<Item = (Piece, usize)>) -> Vec<Traffic> {
        let mut flow = Flow::new();
        let each = pieces.into_iter().flat_map(|(piece, count)| std::iter::repeat_n(piece, count));
        each.filter_map(|piece| flow.received(piece)).collect()
    }

    #[test]
    fn messages_stay_messages() {
        assert_eq!(switches([(Piece::Whole, 1000)]), []);
        assert_eq!(switches([(Piece::Cut, 3), (Piece::Whole, 1), (Piece::Cut, 3), (Piece::Large, 9)]), []);
    }

    #[test]
    fn cut_pieces_in_a_row_are_a_stream() {
        assert_eq!(switches([(Piece::Cut, 4)]), [Traffic::Stream]);
        assert_eq!(switches([(Piece::Cut, 1000)]), [Traffic::Stream]);
    }

    #[test]
    fn a_stream_that_pauses_is_still_a_stream() {
        let pauses =
            [(Piece::Cut, 4), (Piece::Whole, 15), (Piece::Large, 1), (Piece::Whole, 15), (Piece::Cut, 1)];
        assert_eq!(switches(pauses), [Traffic::Stream]);
    }

    #[test]
    fn whole_pieces_in_a_row_are_messages_again() {
        assert_eq!(
            switches([(Piece::Cut, 4), (Piece::Whole, 16), (Piece::Cut, 4)]),
            [Traffic::Stream, Traffic::Messages, Traffic::Stream]
        );
    }
}
