//! What a request names: a descriptor, and perhaps a place in a ring's own table of files.

use std::num::NonZeroU32;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

/// A descriptor, and where a ring may find the same file sooner.
///
/// Looking a number up and counting the file costs the kernel a few cache lines for each
/// request; a ring's own table of files costs fewer. A backend without one uses the descriptor.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    fd: BorrowedFd<'a>,
    place: Option<Place>,
}

impl<'a> Target<'a> {
    pub(crate) fn new(fd: BorrowedFd<'a>, place: Option<Place>) -> Self {
        Self { fd, place }
    }

    /// The descriptor.
    #[inline]
    pub fn fd(&self) -> BorrowedFd<'a> {
        self.fd
    }

    /// The place in this table, if the file has one there.
    #[inline]
    pub(crate) fn place_in(&self, table: TableNumber) -> Option<u32> {
        self.place.and_then(|place| place.in_table(table))
    }
}

impl<'a> From<BorrowedFd<'a>> for Target<'a> {
    fn from(fd: BorrowedFd<'a>) -> Self {
        Self::new(fd, None)
    }
}

impl AsFd for Target<'_> {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd
    }
}

impl AsRawFd for Target<'_> {
    fn as_raw_fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }
}

/// Tells the file tables of this process apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TableNumber(u32);

impl TableNumber {
    /// `None` if there were so many tables that this one cannot be told from others.
    pub(crate) fn new(number: u32) -> Option<Self> {
        (number > 0 && number < 1 << (u32::BITS - Place::INDEX_BITS)).then_some(Self(number))
    }
}

/// A place in one table of files. One word, and never zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(NonZeroU32);

impl Place {
    const INDEX_BITS: u32 = 14;
    /// Places of one table.
    pub(crate) const MAX: u32 = 1 << Self::INDEX_BITS;

    pub(crate) fn new(table: TableNumber, index: u32) -> Self {
        assert!(index < Self::MAX, "place {index} of {}", Self::MAX);
        Self(NonZeroU32::new(table.0 << Self::INDEX_BITS | index).expect("tables count from one"))
    }

    /// The index, if it is one of this table.
    #[inline]
    pub(crate) fn in_table(self, table: TableNumber) -> Option<u32> {
        (self.0.get() >> Self::INDEX_BITS == table.0).then_some(self.0.get() & (Self::MAX - 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_found_in_its_own_table_only() {
        let (one, other) = (TableNumber::new(1).unwrap(), TableNumber::new(2).unwrap());
        for index in [0, 1, Place::MAX - 1] {
            let place = Place::new(one, index);
            assert_eq!((place.in_table(one), place.in_table(other)), (Some(index), None));
        }
        let last = (1 << (u32::BITS - Place::INDEX_BITS)) - 1;
        let place = Place::new(TableNumber::new(last).unwrap(), 3);
        assert_eq!(place.in_table(TableNumber::new(last).unwrap()), Some(3));
        assert!(TableNumber::new(0).is_none() && TableNumber::new(last + 1).is_none());
    }
}
