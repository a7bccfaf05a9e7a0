//! A descriptor that several operations of one thread may name at once.
//!
//! Every operation that names a descriptor holds a clone, so the number cannot be
//! closed, and given to somebody else, while the kernel may still look it up. The
//! last clone closes it.

#![allow(unsafe_code, reason = "lends out a descriptor number that stands beside its owner")]

use std::cell::OnceCell;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};

use crate::target::{Place, Target};

/// A counted descriptor; the last clone closes it.
#[derive(Clone, Debug)]
pub struct SharedFd {
    /// Beside the count and not behind it: among thousands of connections the count has left the
    /// cache, and an entry for the kernel needs the number only.
    number: RawFd,
    /// Where a ring keeps the file as well.
    place: Option<Place>,
    owner: Rc<Owner>,
}

const _: () = assert!(size_of::<SharedFd>() == 16);

#[derive(Debug)]
struct Owner {
    /// First, so that a ring lets go of the file before the descriptor closes, which then ends it.
    held: OnceCell<HeldPlace>,
    fd: OwnedFd,
}

/// What keeps files at places: the driver of a ring.
pub(crate) trait Files {
    /// Nothing names the place any more.
    fn let_go(&self, place: Place);
}

/// A place in a ring's table of files, given back on drop.
pub(crate) struct HeldPlace {
    pub(crate) files: Weak<dyn Files>,
    pub(crate) place: Place,
}

impl Drop for HeldPlace {
    fn drop(&mut self) {
        if let Some(files) = self.files.upgrade() {
            files.let_go(self.place);
        }
    }
}

impl std::fmt::Debug for HeldPlace {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.place.fmt(f)
    }
}

impl SharedFd {
    /// Takes ownership of `fd`.
    pub fn new(fd: OwnedFd) -> Self {
        let number = fd.as_raw_fd();
        Self { number, place: None, owner: Rc::new(Owner { held: OnceCell::new(), fd }) }
    }

    /// Gives the descriptor out if nobody else holds it.
    ///
    /// # Errors
    /// The shared descriptor itself, while an operation or another clone holds it.
    pub fn try_into_owned(self) -> Result<OwnedFd, Self> {
        let Self { number, place, owner } = self;
        match Rc::try_unwrap(owner) {
            Ok(Owner { held, fd }) => {
                drop(held);
                Ok(fd)
            }
            Err(owner) => Err(Self { number, place, owner }),
        }
    }

    /// How many clones exist, operations in flight included.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.owner)
    }

    /// What a request names.
    #[inline]
    pub fn target(&self) -> Target<'_> {
        Target::new(self.as_fd(), self.place)
    }

    /// A clone that names the file by its place, which is given back when the last clone is dropped.
    pub(crate) fn at_place(&self, hold: impl FnOnce(BorrowedFd<'_>) -> Option<HeldPlace>) -> Option<Self> {
        if self.owner.held.get().is_none() {
            let held = hold(self.as_fd())?;
            self.owner.held.set(held).expect("it was empty just now");
        }
        let place = self.owner.held.get().map(|held| held.place);
        Some(Self { place, ..self.clone() })
    }
}

impl AsFd for SharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: [fd-counted] `owner` is the owner of this number, and lives as long as the borrow.
        unsafe { BorrowedFd::borrow_raw(self.number) }
    }
}

impl From<OwnedFd> for SharedFd {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd)
    }
}
