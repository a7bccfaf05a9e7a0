//! Receiving from a socket.

use std::io;
use std::os::fd::AsFd;

use coronet_ring::pool::Received;
use coronet_ring::{Done, Group, MultiOp, Op, Request, SharedFd};

use super::fill::Fill;
use crate::buf::{BufResult, IoBufMut};

/// Receives into the room of a buffer, once.
pub struct Recv<B> {
    socket: SharedFd,
    buf: Fill<B>,
    flags: i32,
}

impl<B: IoBufMut> Recv<B> {
    /// Receives what there is, at least one byte; `flags` are `MSG_*`.
    pub fn new(socket: SharedFd, buf: B, flags: i32) -> Self {
        Self { socket, buf: Fill::new(buf), flags }
    }
}

impl<B: IoBufMut> Op for Recv<B> {
    type Output = BufResult<usize, B>;

    fn request(&mut self) -> Request<'_> {
        Request::Recv { socket: self.socket.as_fd(), into: self.buf.lend(), flags: self.flags }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        self.buf.finish(&done)
    }
}

/// Receives into buffers that the kernel picks, until the stream ends or the group is empty.
///
/// What nobody takes returns to the group.
#[derive(Debug)]
pub struct RecvMulti {
    socket: SharedFd,
    group: Group,
    bundle: bool,
}

impl RecvMulti {
    /// Picks buffers from `group`.
    pub fn new(socket: SharedFd, group: Group) -> Self {
        Self { socket, group, bundle: false }
    }

    /// Fills several buffers with one completion. Kernel 6.10; not with incremental groups.
    pub fn bundle(self) -> Self {
        Self { bundle: true, ..self }
    }
}

impl MultiOp for RecvMulti {
    type Item = io::Result<Received>;

    // A reader that is slower than its peer holds so many completions, and so many buffers at the
    // most; then the rest waits in the socket, where the window of TCP slows the peer down.
    const ITEMS_MAX: usize = 16;

    fn request(&mut self) -> Request<'_> {
        Request::RecvMulti { socket: self.socket.as_fd(), group: self.group.id(), bundle: self.bundle }
    }

    fn item(&self, done: Done<Self>) -> Self::Item {
        // A buffer may come with an error too, and has to go back: so receive it in any case.
        let value = done.value();
        let received = self.group.receive(done);
        value.map(|_| received)
    }
}
