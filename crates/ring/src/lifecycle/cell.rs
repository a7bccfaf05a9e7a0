//! Cells: where operations stand while they are lent. A cell never moves.
//!
//! Cells come in chunks that live as long as the driver; each belongs to one slot.
//! An operation that does not fit a cell stands in a box of its own, and the cell
//! holds the box.

#![allow(unsafe_code, reason = "moves operations of any type into cells of one size, and out again")]

use std::mem::{MaybeUninit, align_of, size_of};
use std::ptr::NonNull;

/// Room for a descriptor, a buffer and a few words, or a 64-byte array instead.
pub(crate) const CELL_BYTES: usize = 128;
const CELLS_PER_CHUNK: usize = 64;

#[repr(C, align(64))]
struct Bytes(MaybeUninit<[u8; CELL_BYTES]>);

/// The address of one cell. Whoever holds it, and no one else, decides about its content.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell(NonNull<Bytes>);

/// True if a `T` stands in the cell itself, not in a box.
const fn fits<T>() -> bool {
    size_of::<T>() <= CELL_BYTES && align_of::<T>() <= align_of::<Bytes>()
}

impl Cell {
    /// Where the cell starts.
    pub(crate) fn start(self) -> *const () {
        self.0.as_ptr().cast_const().cast()
    }

    /// Moves `value` in. The cell must be free; what it held before is forgotten.
    pub(crate) fn put<T>(self, value: T) {
        if fits::<T>() {
            // SAFETY: [cell-typed] the cell is free, lies in a live chunk, and `fits` checked size and alignment.
            unsafe { self.0.as_ptr().cast::<T>().write(value) }
        } else {
            // SAFETY: [cell-typed] as above; a box fits any cell (checked below).
            unsafe { self.0.as_ptr().cast::<Box<T>>().write(Box::new(value)) }
        }
        const { assert!(fits::<Box<T>>()) }
    }

    /// The address of the value, stable until it is taken.
    ///
    /// # Safety
    /// - The cell holds a `T`. [cell-typed]
    pub(crate) unsafe fn address<T>(self) -> *mut T {
        if fits::<T>() {
            self.0.as_ptr().cast::<T>()
        } else {
            // SAFETY: [cell-typed] the caller says that the cell holds a `T`, so `put` wrote a box.
            let boxed = unsafe { &mut *self.0.as_ptr().cast::<Box<T>>() };
            &raw mut **boxed
        }
    }

    /// Moves the value out; the cell is free afterwards.
    ///
    /// # Safety
    /// - The cell holds a `T`, which nobody takes a second time. [cell-typed]
    /// - The kernel is done with it. [loan-pinned]
    pub(crate) unsafe fn take<T>(self) -> T {
        if fits::<T>() {
            // SAFETY: [cell-typed] the caller says that a `T` stands here and is taken once.
            unsafe { self.0.as_ptr().cast::<T>().read() }
        } else {
            // SAFETY: [cell-typed] as above, in its box.
            unsafe { *self.0.as_ptr().cast::<Box<T>>().read() }
        }
    }
}

/// All cells of one driver, by number.
#[derive(Default)]
pub(crate) struct Cells {
    chunks: Vec<Box<[Bytes; CELLS_PER_CHUNK]>>,
}

impl Cells {
    /// The cell of this number; one more than there were makes room for more.
    pub(crate) fn at(&mut self, number: usize) -> Cell {
        let (chunk, place) = (number / CELLS_PER_CHUNK, number % CELLS_PER_CHUNK);
        if chunk == self.chunks.len() {
            self.chunks.push(Box::new([const { Bytes(MaybeUninit::uninit()) }; CELLS_PER_CHUNK]));
        }
        Cell(NonNull::from(&mut self.chunks[chunk][place]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::rc::Rc;

    fn round_trip<T: PartialEq + Clone + std::fmt::Debug>(value: T) {
        let mut cells = Cells::default();
        let cell = cells.at(0);
        cell.put(value.clone());
        // SAFETY: [cell-typed] put above, taken once.
        let back = unsafe { cell.take::<T>() };
        assert_eq!(back, value);
    }

    #[test]
    fn values_of_any_size_come_back_as_they_went_in() {
        round_trip(());
        round_trip(7_u64);
        round_trip(String::from("in the cell"));
        round_trip([1_u8; CELL_BYTES]);
        round_trip([2_u8; CELL_BYTES + 1]);
        round_trip(Rc::new(3));
    }

    #[test]
    fn an_address_holds_while_the_arena_grows() {
        let mut cells = Cells::default();
        let (small, large) = (cells.at(0), cells.at(1));
        small.put(1_u32);
        large.put([5_u8; 1000]);
        let addresses = || {
            // SAFETY: [cell-typed] as put above.
            let small = unsafe { small.address::<u32>() };
            // SAFETY: [cell-typed] as put above.
            (small, unsafe { large.address::<[u8; 1000]>() })
        };
        let before = addresses();
        let others: Vec<_> = (2..1000).map(|number| cells.at(number)).collect();
        assert!(!others.contains(&small));
        assert_eq!(before, addresses());
        // SAFETY: [cell-typed] taken once, to free the box.
        let _ = unsafe { large.take::<[u8; 1000]>() };
    }
}
