//! TCP over the ring of this thread.
//!
//! What the kernel produced belongs to the socket, not to the future that waited for
//! it: dropping an `accept`, a `recv` or a `write` loses no connection and no byte.

mod tcp;
mod resolve;
mod turn;

pub use resolve::{ToAddrs, lookup_host};
pub use std::net::Shutdown;
pub use tcp::{
    IntoStdError, ListenOptions, OwnedReadHalf, OwnedWriteHalf, Partial, ReadHalf, RecvLease, RelayError,
    RelaySide, ReuniteError, SendZc, TcpListener, TcpStream, Write, WriteAll, WriteHalf, relay, relay_with,
};
