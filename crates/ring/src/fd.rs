//! A descriptor that several operations of one thread may name at once.
//!
//! Every operation that names a descriptor holds a clone, so the number cannot be
//! closed, and given to somebody else, while the kernel may still look it up. The
//! last clone closes it.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

/// A counted descriptor; the last clone closes it.
#[derive(Clone, Debug)]
pub struct SharedFd(Rc<OwnedFd>);

impl SharedFd {
    /// Takes ownership of `fd`.
    pub fn new(fd: OwnedFd) -> Self {
        Self(Rc::new(fd))
    }

    /// Gives the descriptor out if nobody else holds it.
    ///
    /// # Errors
    /// The shared descriptor itself, while an operation or another clone holds it.
    pub fn try_into_owned(self) -> Result<OwnedFd, Self> {
        Rc::try_unwrap(self.0).map_err(Self)
    }

    /// How many clones exist, operations in flight included.
    pub fn holders(&self) -> usize {
        Rc::strong_count(&self.0)
    }
}

impl AsFd for SharedFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl From<OwnedFd> for SharedFd {
    fn from(fd: OwnedFd) -> Self {
        Self::new(fd)
    }
}
