//! Closing a descriptor by way of the ring.

use std::io;
use std::os::fd::OwnedFd;

use coronet_ring::{Done, OnDrop, Op, Request};

/// Closes a descriptor, and reports what went wrong with it.
#[derive(Debug)]
pub struct Close {
    fd: Option<OwnedFd>,
}

impl Close {
    /// Closes `fd`, whether or not anybody waits for it.
    pub fn new(fd: OwnedFd) -> Self {
        Self { fd: Some(fd) }
    }
}

impl Op for Close {
    type Output = io::Result<()>;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        Request::Close { fd: &mut self.fd }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        // A close that the ring refused still owns the descriptor, and closes it here.
        drop(self.fd);
        done.value().map(drop)
    }
}
