//! What can be asked of the kernel: one file per family of operations.
//!
//! Each operation is a struct that owns what it lends, and gives it back with its
//! result. They are safe Rust, whichever backend carries them out. Submit them with
//! [`coronet_ring::Handle::submit`].

mod accept;
mod close;
mod connect;
mod file;
mod message;
mod poll;
mod recv;
mod send_zc;
mod send;
mod timeout;

mod fill;

pub use accept::{Accept, AcceptMulti};
pub use close::Close;
pub use connect::Connect;
pub use file::{ReadAt, WriteAt};
pub use message::MsgRing;
pub use poll::{Poll, PollMulti};
pub use recv::{Recv, RecvMulti};
pub use send::{Send, SendVectored, Sent};
pub(crate) use send_zc::{SendZc, Ticket, Usage, is_refusal};
pub use timeout::Timeout;
