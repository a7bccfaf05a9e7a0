//! Taking connections from a listening socket.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coronet_ring::{Done, MultiOp, Op, Request, SharedFd};

/// Takes one connection. A connection that comes too late is closed.
#[derive(Debug)]
pub struct Accept {
    listener: SharedFd,
}

impl Accept {
    /// From this listening socket.
    pub fn new(listener: SharedFd) -> Self {
        Self { listener }
    }
}

impl Op for Accept {
    type Output = io::Result<OwnedFd>;

    fn request(&mut self) -> Request<'_> {
        Request::Accept { listener: self.listener.as_fd() }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        adopt(&done)
    }
}

/// Takes connections until it is cancelled or fails. Those that nobody takes are closed.
#[derive(Debug)]
pub struct AcceptMulti {
    listener: SharedFd,
}

impl AcceptMulti {
    /// From this listening socket.
    pub fn new(listener: SharedFd) -> Self {
        Self { listener }
    }
}

impl MultiOp for AcceptMulti {
    type Item = io::Result<OwnedFd>;

    // Beyond this, connections wait in the backlog of the kernel, where others may take them.
    const ITEMS_MAX: usize = 256;

    fn request(&mut self) -> Request<'_> {
        Request::AcceptMulti { listener: self.listener.as_fd() }
    }

    fn item(&self, done: Done<Self>) -> Self::Item {
        adopt(&done)
    }
}

#[allow(unsafe_code, reason = "adopts the descriptor that the kernel made for this operation")]
fn adopt<O>(done: &Done<O>) -> io::Result<OwnedFd> {
    let fd = done.value()?;
    // SAFETY: [done-genuine] [fd-adopted] the result of an accept is a descriptor that the kernel made for it alone, and
    // each completion is turned into an output once.
    Ok(unsafe { <OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(fd as i32) })
}
