//! TCP: listener, stream, and the two engines behind a stream.

mod connect;
mod listener;
mod options;
mod relay;
mod send_file;
mod split;
mod traits;
mod stream;
mod receive;
mod send_zc;
mod transmit;
mod lending;
mod course;
mod flow;
mod arrived;
mod direct;
mod socket;

pub use listener::{ListenOptions, TcpListener};
pub use receive::RecvLease;
pub use relay::{RelayError, RelaySide, relay, relay_with};
pub use send_zc::SendZc;
pub use split::{OwnedReadHalf, OwnedWriteHalf, ReadHalf, ReuniteError, WriteHalf};
pub use stream::{IntoStdError, TcpStream};
pub use transmit::{Partial, Write, WriteAll};
