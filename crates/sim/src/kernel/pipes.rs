//! Pipes: one buffer, two ends.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use super::bytes;
use super::endpoint::{Readable, Writable};
use super::objects::ObjectId;

/// Linux's default capacity of a pipe, in bytes.
const BYTES_MAX: usize = 64 * 1024;

#[derive(Debug, Default)]
struct Shared {
    bytes: VecDeque<u8>,
    reader_gone: bool,
    writer_gone: bool,
}

/// One end.
#[derive(Debug)]
pub(crate) struct PipeEnd {
    shared: Rc<RefCell<Shared>>,
    writes: bool,
    pub(crate) other: Option<ObjectId>,
}

impl PipeEnd {
    pub(crate) fn pair() -> (Self, Self) {
        let shared = Rc::new(RefCell::new(Shared::default()));
        let end = |writes| Self { shared: shared.clone(), writes, other: None };
        (end(false), end(true))
    }

    pub(crate) fn readable(&self) -> Readable {
        let shared = self.shared.borrow();
        match shared.bytes.len() {
            _ if self.writes => Readable::Error(libc::EBADF),
            0 if shared.writer_gone => Readable::End,
            0 => Readable::NotYet,
            count => Readable::Bytes(count),
        }
    }

    pub(crate) fn writable(&self) -> Writable {
        let shared = self.shared.borrow();
        match BYTES_MAX - shared.bytes.len() {
            _ if !self.writes => Writable::Error(libc::EBADF),
            _ if shared.reader_gone => Writable::Error(libc::EPIPE),
            0 => Writable::NotYet,
            room => Writable::Room(room),
        }
    }

    pub(crate) fn take(&self, count: usize) -> Vec<u8> {
        bytes::take(&mut self.shared.borrow_mut().bytes, count)
    }

    pub(crate) fn put(&self, bytes: &[u8]) {
        self.shared.borrow_mut().bytes.extend(bytes);
    }

    pub(crate) fn close(&self) {
        let mut shared = self.shared.borrow_mut();
        if self.writes { shared.writer_gone = true } else { shared.reader_gone = true }
    }

    pub(crate) fn poll_mask(&self) -> i16 {
        let mut mask = match self.readable() {
            Readable::Bytes(_) => libc::POLLIN | libc::POLLRDNORM,
            Readable::End => libc::POLLHUP,
            Readable::Error(_) | Readable::NotYet => 0,
        };
        mask |= match self.writable() {
            Writable::Room(_) => libc::POLLOUT | libc::POLLWRNORM,
            Writable::Error(libc::EPIPE) => libc::POLLOUT | libc::POLLWRNORM | libc::POLLERR,
            Writable::Error(_) | Writable::NotYet => 0,
        };
        mask
    }
}
