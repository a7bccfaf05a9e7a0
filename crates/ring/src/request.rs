//! What to ask the kernel for: a closed list of plain data, the one word that all
//! backends read.
//!
//! A request is made after its operation has reached its final address; every
//! pointer in it is branded with the life of that operation. A new variant makes
//! the compiler list each backend that does not know it yet.

#[cfg(test)]
mod facts;

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::Duration;

use crate::pool::GroupId;
use crate::span::{Message, Span, SpanMut};
use crate::target::Target;
use crate::token::Token;

/// One piece of work, described. See the man page `io_uring_enter(2)` for each opcode.
#[derive(Debug)]
pub enum Request<'a> {
    /// Does nothing, and completes. Kernel 5.1.
    Nop,
    /// Takes one connection; the result is its descriptor. Kernel 5.5.
    Accept {
        /// A listening socket.
        listener: BorrowedFd<'a>,
    },
    /// Takes connections until it is cancelled or fails. Kernel 5.19.
    AcceptMulti {
        /// A listening socket.
        listener: BorrowedFd<'a>,
    },
    /// Connects a stream socket. Kernel 5.5.
    Connect {
        /// The socket.
        socket: BorrowedFd<'a>,
        /// The address, as `connect(2)` takes it.
        address: Span<'a>,
    },
    /// Receives into the operation's own buffer. Kernel 5.6.
    Recv {
        /// The socket.
        socket: BorrowedFd<'a>,
        /// Where the bytes go.
        into: SpanMut<'a>,
        /// `MSG_*`.
        flags: i32,
    },
    /// Receives into buffers that the kernel picks, again and again. Kernel 6.0.
    RecvMulti {
        /// The socket.
        socket: BorrowedFd<'a>,
        /// The group to pick from.
        group: GroupId,
        /// Fill several buffers with one completion. Kernel 6.10.
        bundle: bool,
    },
    /// Sends the operation's own bytes. Kernel 5.6.
    Send {
        /// The socket.
        socket: Target<'a>,
        /// The bytes.
        from: Span<'a>,
        /// `MSG_*`; `MSG_NOSIGNAL` is always added.
        flags: i32,
    },
    /// Sends the operation's own bytes, which the network reads in place. Kernel 6.0.
    ///
    /// The result says with `MORE` that a notification follows, also if it is an error. Until that one comes, which
    /// may be long after the descriptor was closed, the bytes stay lent.
    SendZc {
        /// The socket.
        socket: Target<'a>,
        /// The bytes.
        from: Span<'a>,
        /// `MSG_*`; `MSG_NOSIGNAL` is always added.
        flags: i32,
        /// The notification says whether the kernel copied all the same. Kernel 6.1; the man page says 6.2.
        report: bool,
    },
    /// Sends several slices as one. Kernel 5.3.
    SendMessage {
        /// The socket.
        socket: Target<'a>,
        /// The slices.
        message: Message<'a>,
        /// `MSG_*`; `MSG_NOSIGNAL` is always added.
        flags: i32,
    },
    /// Closes a descriptor, taking it from the operation whatever the result is. Kernel 5.6.
    Close {
        /// The descriptor; it is gone once the request is accepted.
        fd: &'a mut Option<OwnedFd>,
    },
    /// Completes with `ETIME` after a while. Kernel 5.4.
    Timeout {
        /// How long, on the monotonic clock.
        after: &'a Timespec,
    },
    /// Completes once the descriptor is ready; the result is the ready mask. Kernel 5.1.
    Poll {
        /// The descriptor.
        fd: BorrowedFd<'a>,
        /// `POLL*`.
        events: u32,
    },
    /// Completes whenever the descriptor becomes ready. Kernel 5.13.
    PollMulti {
        /// The descriptor.
        fd: BorrowedFd<'a>,
        /// `POLL*`.
        events: u32,
    },
    /// Asks for an early end of another operation. Kernel 5.5.
    Cancel {
        /// The operation to end.
        target: Token,
    },
    /// Posts a completion to another ring. Kernel 5.18.
    MsgRing {
        /// The other ring.
        ring: BorrowedFd<'a>,
        /// The result that is seen there. The `user_data` is zero, which is no operation's.
        result: i32,
    },
    /// Reads from a file at a position. Kernel 5.6.
    Read {
        /// The file.
        file: BorrowedFd<'a>,
        /// Where the bytes go.
        into: SpanMut<'a>,
        /// The position in bytes.
        at: u64,
    },
    /// Writes to a file at a position; not for sockets (no `MSG_NOSIGNAL`). Kernel 5.6.
    Write {
        /// The file.
        file: BorrowedFd<'a>,
        /// The bytes.
        from: Span<'a>,
        /// The position in bytes.
        at: u64,
    },
}

impl Request<'_> {
    /// True for the variants that may bring one result after the other. None of them lends memory.
    pub fn is_multishot(&self) -> bool {
        match self {
            Self::AcceptMulti { .. } | Self::RecvMulti { .. } | Self::PollMulti { .. } => true,
            Self::Nop
            | Self::Accept { .. }
            | Self::Connect { .. }
            | Self::Recv { .. }
            | Self::Send { .. }
            | Self::SendZc { .. }
            | Self::SendMessage { .. }
            | Self::Close { .. }
            | Self::Timeout { .. }
            | Self::Poll { .. }
            | Self::Cancel { .. }
            | Self::MsgRing { .. }
            | Self::Read { .. }
            | Self::Write { .. } => false,
        }
    }

    /// The group that the kernel picks buffers from, if any.
    pub fn group(&self) -> Option<GroupId> {
        if let Self::RecvMulti { group, .. } = self { Some(*group) } else { None }
    }

    /// True if one completion may fill several buffers of the group.
    pub fn is_bundle(&self) -> bool {
        matches!(self, Self::RecvMulti { bundle: true, .. })
    }
}

/// Whether a backend took a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub enum Submitted {
    /// It is in flight.
    Accepted,
    /// There is no room: turn, and offer it again. Nothing of it was taken.
    Full,
}

/// A span of time, also in the layout that the kernel reads.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Timespec {
    seconds: i64,
    nanoseconds: i64,
}

const _: () = assert!(size_of::<Timespec>() == size_of::<io_uring::types::Timespec>());
const _: () = assert!(align_of::<Timespec>() == align_of::<io_uring::types::Timespec>());

impl Timespec {
    /// Points the kernel at this value.
    pub(crate) fn as_kernel(&self) -> *const io_uring::types::Timespec {
        // `struct __kernel_timespec`: two integers of 64 bits.
        std::ptr::from_ref(self).cast()
    }

    /// The span that it was made from, for a backend that keeps its own clock.
    pub fn duration(&self) -> Duration {
        Duration::new(self.seconds as u64, self.nanoseconds as u32)
    }
}

impl From<Duration> for Timespec {
    fn from(duration: Duration) -> Self {
        // The kernel counts in i64 nanoseconds: longer than 292 years is forever.
        let duration = duration.min(Duration::from_secs(i64::MAX as u64 / 1_000_000_000 - 1));
        Self { seconds: duration.as_secs() as i64, nanoseconds: duration.subsec_nanos().into() }
    }
}
