//! A word to another ring.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coronet_ring::{Done, OnDrop, Op, Request};

/// Posts a completion to another ring; it ends a wait there.
///
/// The other side sees the result, and a `user_data` of zero.
#[derive(Debug)]
pub struct MsgRing {
    ring: OwnedFd,
    result: i32,
}

impl MsgRing {
    /// Posts to the ring behind the descriptor `ring`.
    pub fn new(ring: OwnedFd, result: i32) -> Self {
        Self { ring, result }
    }
}

impl Op for MsgRing {
    type Output = io::Result<()>;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        Request::MsgRing { ring: self.ring.as_fd(), result: self.result }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value().map(drop)
    }
}
