//! Calls on a socket that go past the ring, and must not wait: the ring tells when there is something to do.

use std::io;
use std::os::fd::AsFd;

use super::socket::Socket;
use crate::op;
use crate::pipes::is_refusal;

/// Waits until a socket has bytes or its end, or room; or until it failed, which the next call says.
pub(super) async fn ready(socket: &Socket, events: i16) -> io::Result<()> {
    let poll = op::Poll::new(socket.fd.clone(), events.unsigned_abs().into());
    socket.handle().submit(poll).await.map(drop)
}

/// True if there is no such way for these descriptors: some layer of theirs has no such call, or a filter
/// forbids it.
pub(super) fn is_no_way(error: &io::Error) -> bool {
    is_refusal(error) || matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EOPNOTSUPP))
}

/// Who sees to it that a call which fills a socket does not wait. Only the mode of the socket tells:
/// `SPLICE_F_NONBLOCK` speaks of the pipe, and `POLLOUT` does not tell how much room there is.
#[derive(Clone, Copy)]
pub(super) enum Mode {
    /// The socket is in non-blocking mode, and stays in it: the ring waits all the same.
    Kept,
    /// The ring needs the mode as it was, and does nothing while it is another for the length of a call.
    Changed,
}

impl Mode {
    /// For calls that fill `socket`.
    pub(super) fn choose(socket: &Socket) -> io::Result<Self> {
        if !socket.handle().capabilities().waits_nonblocking {
            return Ok(Self::Changed);
        }
        socket.system().set_nonblocking(socket.fd.as_fd(), true)?;
        Ok(Self::Kept)
    }

    /// Does `call`, which fails if it would have to wait for room in `socket`.
    pub(super) fn without_waiting<T>(
        self,
        socket: &Socket,
        call: impl FnOnce() -> io::Result<T>,
    ) -> io::Result<T> {
        match self {
            Self::Kept => call(),
            Self::Changed => {
                socket.system().set_nonblocking(socket.fd.as_fd(), true)?;
                let result = call();
                socket.system().set_nonblocking(socket.fd.as_fd(), false)?;
                result
            }
        }
    }
}
