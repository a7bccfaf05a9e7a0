//! Waiting until a descriptor is ready, without reading or writing.

use std::io;
use std::os::fd::AsFd;

use coronet_ring::{Done, MultiOp, Op, Request, SharedFd};

/// Waits once; the result is the mask of what is ready.
#[derive(Debug)]
pub struct Poll {
    fd: SharedFd,
    events: u32,
}

impl Poll {
    /// `events` are `POLL*`.
    pub fn new(fd: SharedFd, events: u32) -> Self {
        Self { fd, events }
    }
}

impl Op for Poll {
    type Output = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::Poll { fd: self.fd.as_fd(), events: self.events }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value()
    }
}

/// Reports every time that the descriptor becomes ready (edges, not levels).
#[derive(Debug)]
pub struct PollMulti {
    fd: SharedFd,
    events: u32,
}

impl PollMulti {
    /// `events` are `POLL*`.
    pub fn new(fd: SharedFd, events: u32) -> Self {
        Self { fd, events }
    }
}

impl MultiOp for PollMulti {
    type Item = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::PollMulti { fd: self.fd.as_fd(), events: self.events }
    }

    fn item(&self, done: Done<Self>) -> Self::Item {
        done.value()
    }
}
