//! An operation owns what it lends: a borrowed buffer would end before the kernel is done.

use coronet_ring::{Done, Op, Request, SharedFd, SpanMut};
use std::os::fd::AsFd;

struct Recv<'a> {
    socket: SharedFd,
    bytes: &'a mut [u8],
}

impl<'a> Op for Recv<'a> {
    type Output = u32;

    fn request(&mut self) -> Request<'_> {
        Request::Recv { socket: self.socket.as_fd(), into: SpanMut::over(self.bytes), flags: 0 }
    }

    fn finish(self, done: Done<Self>) -> u32 {
        done.value().unwrap()
    }
}

fn main() {}
