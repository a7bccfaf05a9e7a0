//! A word to another ring.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coronet_ring::{Completion, OnDrop, Op, Request};

/// Posts a completion to another ring.
///
/// The other side sees `user_data` as a token. Do not use one that an operation there may have.
#[derive(Debug)]
pub struct MsgRing {
    ring: OwnedFd,
    result: i32,
    user_data: u64,
}

impl MsgRing {
    /// Posts to the ring behind the descriptor `ring`.
    pub fn new(ring: OwnedFd, result: i32, user_data: u64) -> Self {
        Self { ring, result, user_data }
    }
}

impl Op for MsgRing {
    type Output = io::Result<()>;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        Request::MsgRing { ring: self.ring.as_fd(), result: self.result, user_data: self.user_data }
    }

    fn finish(self, done: Completion) -> Self::Output {
        done.value().map(drop)
    }
}
