//! Reading and writing with owned buffers.
//!
//! [`AsyncRead`] and [`AsyncWrite`] are the traits that streams implement; a buffer goes
//! in and comes back with the result. On top of them: [`BufReader`] and [`BufWriter`],
//! [`copy`] and [`copy_bidirectional`], and [`duplex`], a pipe in memory for tests.
//!
//! # When a future is dropped
//!
//! Everything here is built on two promises, which every implementation of the traits
//! makes:
//!
//! - *A dropped read takes nothing away.* What had not been handed to the caller stays
//!   with the stream, and the next read sees it first. The buffer that was lent is gone,
//!   with whatever it held before.
//! - *A write that was started is carried out.* It goes on after its future is dropped:
//!   either all bytes of its buffer are sent, before those of any later write, or the
//!   next write, flush or shutdown fails and says so, once. The first poll starts it, unless
//!   the write of an earlier dropped future is still under way: then it waits, and starts
//!   behind that one. After [`settle`](AsyncWrite::settle), or a flush, nothing is under way.
//!
//! A future that was never polled has done nothing. Calls made of several reads or writes
//! can promise less, and say so under "Cancellation"; [`BufReader`] is the cure for reads,
//! as it keeps what it gathers in itself and not in the future.
//!
//! # What this module leaves to others
//!
//! Sockets are in `net`. Nothing here knows the kernel or the ring: all
//! of it runs on any executor.

mod copy;
mod duplex;

mod ext;

mod buf_reader;
mod buf_writer;
mod chain;
mod take;

mod traits;

mod error;

pub use buf_reader::BufReader;
pub use buf_writer::BufWriter;
pub use chain::Chain;
pub use copy::{CopyError, copy, copy_bidirectional, copy_halves, copy_with, forward};
pub use duplex::{Duplex, duplex};
pub use error::{EndedEarly, InputTooLong, LineTooLong};
pub use ext::{AsyncReadExt, AsyncWriteExt};
pub use take::Take;
pub use traits::{AsyncBufRead, AsyncRead, AsyncRecv, AsyncWrite};

#[cfg(test)]
mod tests;
