//! Pipes that bytes are spliced through: a few empty ones wait for the next use.
//!
//! A pipe costs three system calls to make, and two descriptors. Who moves bytes through one gives
//! it back when it is empty, so a thread needs as many as it has receivers that are slow just now.

use std::cell::{Cell, RefCell};
use std::io;
use std::os::fd::{AsFd, OwnedFd};

use coronet_ring::System;

/// Bytes that one splice moves at most, and that a pipe is asked to hold: the most that Linux gives
/// without privilege. With 256 KiB a stream costs 1.2 to 1.4 times the CPU (docs/BENCHMARKS.md).
pub(crate) const PIPE_BYTES: usize = 1024 * 1024;
/// Empty pipes that are kept: 16 x 10 KiB of kernel memory.
const KEPT_MAX: usize = 16;
/// Pipes of one thread at a time: 256 descriptors, so that they never use up those of connections.
const PIPES_MAX: usize = 128;

/// The pipes of one thread.
#[derive(Debug, Default)]
pub(crate) struct Pipes {
    kept: RefCell<Vec<Pipe>>,
    /// Pipes that exist, in use or kept.
    count: Cell<usize>,
    /// The system cannot splice, or must not: nobody asks again.
    refused: Cell<bool>,
}

impl Pipes {
    /// An empty pipe; `None` if there is none to be had now, and bytes have to be copied.
    pub(crate) fn take(&self, system: &dyn System) -> Option<Pipe> {
        if let Some(pipe) = self.kept.borrow_mut().pop() {
            return Some(pipe);
        }
        if self.refused.get() || self.count.get() >= PIPES_MAX {
            return None;
        }
        match system.pipe(PIPE_BYTES) {
            Ok((read, write)) => {
                self.count.set(self.count.get() + 1);
                Some(Pipe { read, write, filled: 0 })
            }
            Err(error) => {
                if is_refusal(&error) {
                    self.refuse();
                }
                // Out of descriptors, for now.
                None
            }
        }
    }

    /// True if there is a pipe to be had now.
    pub(crate) fn can_splice(&self, system: &dyn System) -> bool {
        self.take(system).map(|pipe| self.give_back(pipe)).is_some()
    }

    /// Takes a pipe back. One with bytes in it is closed: they would go to somebody else.
    pub(crate) fn give_back(&self, pipe: Pipe) {
        let mut kept = self.kept.borrow_mut();
        if pipe.filled == 0 && kept.len() < KEPT_MAX {
            kept.push(pipe);
        } else {
            self.count.set(self.count.get() - 1);
        }
    }

    /// Ends the use of pipes on this thread.
    pub(crate) fn refuse(&self) {
        self.refused.set(true);
    }
}

/// True if the system will never do it: a filter, another kernel, or a simulated one.
pub(crate) fn is_refusal(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::Unsupported
        || matches!(error.raw_os_error(), Some(libc::EPERM | libc::ENOSYS))
}

/// A pipe, and how many bytes are in it.
#[derive(Debug)]
pub(crate) struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

impl Pipe {
    /// Bytes in it.
    pub(crate) fn filled(&self) -> usize {
        self.filled
    }

    /// Moves what `socket` has into the pipe, which is empty.
    pub(crate) fn fill(&mut self, system: &dyn System, socket: impl AsFd) -> io::Result<usize> {
        debug_assert_eq!(self.filled, 0, "a full pipe would block");
        self.filled = system.splice(socket.as_fd(), self.write.as_fd(), PIPE_BYTES)?;
        Ok(self.filled)
    }

    /// Moves bytes out of the pipe into `socket`, once.
    pub(crate) fn pour(&mut self, system: &dyn System, socket: impl AsFd) -> io::Result<usize> {
        let moved = system.splice(self.read.as_fd(), socket.as_fd(), self.filled)?;
        self.filled -= moved;
        Ok(moved)
    }

    /// Takes out all bytes.
    pub(crate) fn empty(&mut self, system: &dyn System) -> io::Result<Vec<u8>> {
        let mut bytes = vec![0; self.filled];
        let mut start = 0;
        while self.filled > 0 {
            let count = system.read_pipe(self.read.as_fd(), &mut bytes[start..])?;
            self.filled -= count;
            start += count;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        Ok(bytes)
    }
}
