//! Reading and writing a file at a position.

use std::os::fd::AsFd;

use coronet_ring::{Done, OnDrop, Op, Request, SharedFd, Span};

use super::fill::Fill;
use crate::buf::{BufResult, IoBuf, IoBufMut};

/// Reads from a file at a position, in bytes.
pub struct ReadAt<B> {
    file: SharedFd,
    buf: Fill<B>,
    at: u64,
}

impl<B: IoBufMut> ReadAt<B> {
    /// Fills the room of `buf` with what stands at `at`.
    pub fn new(file: SharedFd, buf: B, at: u64) -> Self {
        Self { file, buf: Fill::new(buf), at }
    }
}

impl<B: IoBufMut> Op for ReadAt<B> {
    type Output = BufResult<usize, B>;

    fn request(&mut self) -> Request<'_> {
        Request::Read { file: self.file.as_fd(), into: self.buf.lend(), at: self.at }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        self.buf.finish(&done)
    }
}

/// Writes to a file at a position, in bytes. Runs to its end when dropped, once the kernel has it: one that still
/// waits for room in the submission queue is not sent.
pub struct WriteAt<B> {
    file: SharedFd,
    buf: B,
    at: u64,
}

impl<B: IoBuf> WriteAt<B> {
    /// Writes the bytes of `buf` to `at`.
    pub fn new(file: SharedFd, buf: B, at: u64) -> Self {
        Self { file, buf, at }
    }
}

impl<B: IoBuf> Op for WriteAt<B> {
    type Output = BufResult<usize, B>;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        Request::Write { file: self.file.as_fd(), from: Span::new(self.buf.as_bytes()), at: self.at }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        (done.value().map(|count| count as usize), self.buf)
    }
}
