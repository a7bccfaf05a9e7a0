//! Sending on a socket. Both run to their end when dropped: a send that is cut short tears
//! a message. Both raise no signal (`MSG_NOSIGNAL`).

use std::io;

use coronet_ring::{Done, MessageSpace, OnDrop, Op, Request, SharedFd, Span};

use crate::buf::{BufResult, IoBuf, IoVectoredBuf};

/// Sends the bytes of a buffer.
pub struct Send<B> {
    socket: SharedFd,
    buf: B,
    start: usize,
    flags: i32,
}

/// What became of a [`Send`].
#[derive(Debug)]
pub struct Sent<B> {
    /// How many bytes went.
    pub result: io::Result<usize>,
    /// The buffer.
    pub buf: B,
    /// The socket: whoever sends again need not count it again.
    pub socket: SharedFd,
}

impl<B: IoBuf> Send<B> {
    /// `flags` are `MSG_*`; with `MSG_WAITALL` only an error cuts it short.
    pub fn new(socket: SharedFd, buf: B, flags: i32) -> Self {
        Self { socket, buf, start: 0, flags }
    }

    /// Leaves out the first `start` bytes, which were sent before.
    ///
    /// # Panics
    /// When it is submitted, if the buffer has fewer.
    pub fn starting_at(self, start: usize) -> Self {
        Self { start, ..self }
    }
}

impl<B: IoBuf> Op for Send<B> {
    type Output = Sent<B>;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    #[inline]
    fn request(&mut self) -> Request<'_> {
        let from = Span::new(&self.buf.as_bytes()[self.start..]);
        Request::Send { socket: self.socket.target(), from, flags: self.flags }
    }

    #[inline]
    fn finish(self, done: Done<Self>) -> Self::Output {
        Sent { result: done.value().map(|count| count as usize), buf: self.buf, socket: self.socket }
    }
}

/// Sends the bytes of several buffers as one.
pub struct SendVectored<V> {
    socket: SharedFd,
    bufs: V,
    space: MessageSpace,
    flags: i32,
}

impl<V: IoVectoredBuf> SendVectored<V> {
    /// `flags` are `MSG_*`; with `MSG_WAITALL` only an error cuts it short.
    pub fn new(socket: SharedFd, bufs: V, flags: i32) -> Self {
        Self { socket, bufs, space: MessageSpace::new(), flags }
    }
}

impl<V: IoVectoredBuf> Op for SendVectored<V> {
    type Output = BufResult<usize, V>;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        let message = self.space.gather(self.bufs.slices());
        Request::SendMessage { socket: self.socket.target(), message, flags: self.flags }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        (done.value().map(|count| count as usize), self.bufs)
    }
}
