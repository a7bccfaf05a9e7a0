//! What became of one attempt.

use rustix::io::Errno;

use crate::backend::send;
use crate::completion::Completion;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// The last completion.
    Done(i32),
    /// As `Done`, and the socket had less than there was room for.
    DoneShort(i32),
    /// One completion of several.
    Item(Completion),
    /// As `Item`, and the socket had less than there was room for.
    ItemShort(Completion),
    /// The kernel says when to try again.
    Blocks,
    /// Only a thread can wait for this.
    Offload,
}

impl Attempt {
    pub(super) fn failed(error: Errno) -> Self {
        Self::Done(-error.raw_os_error())
    }
}

impl From<send::Attempt> for Attempt {
    fn from(sent: send::Attempt) -> Self {
        match sent {
            send::Attempt::Over(result) => Self::Done(result),
            send::Attempt::Blocks => Self::Blocks,
        }
    }
}

/// Why the last system call failed.
pub(super) fn last_errno() -> i32 {
    std::io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO)
}
