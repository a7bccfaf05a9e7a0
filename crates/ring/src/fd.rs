//! A descriptor that several operations of one thread may name at once.
//!
//! Every operation that names a descriptor holds a clone, so the number cannot be
//! closed, and given to somebody else, while the kernel may still look it up. The
//! last clone closes it.

#![allow(unsafe_code, reason = "lends out a descriptor number that stands beside its owner")]

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::rc::Rc;

/// A counted descriptor; the last clone closes it.
#[derive(Clone, Debug)]
pub struct SharedFd {
    /// Beside the count and not behind it: among thousands of connections the count has left the
    /// cache, and an entry for the kernel needs the number only.
    number: RawFd,
    owner: Rc<OwnedFd>,
}

impl SharedFd {
    /// Takes ownership of `fd`.
    pub fn new(fd: OwnedFd) -> Self {
        Self { number: fd.as_raw_fd(), owner: Rc::new(fd) }
    }

    /// Gives the descriptor out if nobody else holds it.
    ///
    /// # Errors
    /// The shared descriptor itself, while an operation or another clone holds it.
    pub fn try_into_owned(self) -> Result<OwnedFd, Self> {
        let Self { number, owner } = self;
        Rc::try_unwrap(owner).map_err(|owner| Self { number, owner })
    }

    /// How many clones exist, operations in flight included.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.owner)
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
