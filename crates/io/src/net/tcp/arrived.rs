//! The bytes that have arrived and nobody has taken, in order; and what the reader keeps of those that it took.

use std::collections::VecDeque;

use coronet_ring::{Account, Lease};

/// A queue of leases. One word while it is empty, which is nearly always, and streams are many.
#[derive(Default)]
pub(super) struct Arrived(Option<Box<Queue>>);

#[derive(Default)]
struct Queue {
    leases: VecDeque<Lease>,
    bytes: usize,
    account: Account,
}

impl Arrived {
    /// Bytes that wait to be taken.
    #[inline]
    pub(super) fn bytes(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.bytes)
    }

    /// Pieces that they come in.
    pub(super) fn pieces(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.leases.len())
    }

    /// What leases of this stream keep of the pool, if they are counted.
    pub(super) fn account(&self) -> Option<&Account> {
        self.0.as_ref().map(|queue| &queue.account)
    }

    /// As [`Self::account`]; from here on they are counted.
    #[cold]
    pub(super) fn open_account(&mut self) -> Account {
        self.0.get_or_insert_default().account.clone()
    }

    /// Adds bytes behind the others.
    pub(super) fn push(&mut self, lease: Lease) {
        self.insert(self.pieces(), lease);
    }

    /// Adds bytes behind the first `pieces`. An empty lease is nothing.
    pub(super) fn insert(&mut self, pieces: usize, lease: Lease) {
        if !lease.is_empty() {
            let queue = self.0.get_or_insert_default();
            queue.bytes += lease.len();
            queue.leases.insert(pieces, lease);
        }
    }

    /// Takes up to `room` bytes of the first piece.
    pub(super) fn take_up_to(&mut self, room: usize) -> Option<Lease> {
        let queue = self.0.as_mut()?;
        let front = queue.leases.front_mut()?;
        let lease = if front.len() > room { front.split_to(room) } else { queue.leases.pop_front()? };
        queue.bytes -= lease.len();
        Some(lease)
    }

    /// Copies all into one piece with room for `wanted` bytes, so that the buffers can serve others.
    pub(super) fn compact(&mut self, wanted: usize) {
        let queue = self.0.get_or_insert_default();
        // Room for all of it, so that a long read copies each byte a few times, not once per arrival.
        let mut bytes = Vec::with_capacity(queue.bytes.max(wanted.min(2 * queue.bytes)));
        queue.leases.drain(..).for_each(|lease| bytes.extend_from_slice(&lease));
        queue.leases.push_back(Lease::copy_of(&bytes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_arrived_is_taken_in_order_and_in_any_portion() {
        let mut arrived = Arrived::default();
        arrived.push(Lease::copy_of(b"hello "));
        arrived.push(Lease::copy_of(b"world"));
        arrived.push(Lease::empty());
        assert_eq!((arrived.bytes(), arrived.pieces()), (11, 2));
        assert_eq!(&*arrived.take_up_to(2).expect("bytes"), b"he");
        arrived.insert(0, Lease::copy_of(b"he"));
        arrived.compact(0);
        assert_eq!((arrived.bytes(), arrived.pieces()), (11, 1));
        assert_eq!(&*arrived.take_up_to(100).expect("bytes"), b"hello world");
        assert!(arrived.take_up_to(100).is_none());
    }
}
