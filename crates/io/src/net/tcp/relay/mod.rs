//! Bytes both ways between two streams: what a proxy does.
//!
//! Pieces go on as they came, in the buffer that the kernel put them in. A direction that carries bulk
//! goes through a pipe instead. Which way, [`way`] decides.

mod forward;
mod bulk;
mod way;

use std::cell::Cell;
use std::future::Future;
use std::pin::pin;
use std::{fmt, io};

use futures_util::future::{Either, select};

use self::forward::{Broken, forward};
use super::TcpStream;

/// One of the two streams of a relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelaySide {
    /// The first.
    A,
    /// The second.
    B,
}

/// Why a relay ended, and how far it had come.
///
/// `?` turns it into the [`io::Error`] where the rest does not matter.
#[derive(Debug)]
pub struct RelayError {
    /// Bytes that came from the first stream, and that the second took.
    pub a_to_b: u64,
    /// Bytes that came from the second stream, and that the first took.
    pub b_to_a: u64,
    /// The stream that failed.
    pub side: RelaySide,
    /// How it failed.
    pub error: io::Error,
}

impl fmt::Display for RelayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a_to_b, b_to_a, side, .. } = self;
        write!(f, "side {side:?} of the relay failed after {a_to_b} bytes from A to B and {b_to_a} back")
    }
}

impl std::error::Error for RelayError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<RelayError> for io::Error {
    fn from(error: RelayError) -> Self {
        error.error
    }
}

/// Carries bytes both ways between two connections until both have ended.
///
/// It copies nothing in the program: a piece is sent from the buffer that it was received into, and bulk
/// moves inside of the kernel. The end of one direction is passed on, and the other goes on. A direction
/// reads only when what it read before is sent, so a slow side slows the other down, and memory stays
/// bounded: one piece or one pipe (1 MiB) each way. Resolves with the bytes from `a` to `b`, and back.
///
/// For other kinds of streams there is [`io::copy_bidirectional`](crate::io::copy_bidirectional).
///
/// # Cancellation
/// Safe. A piece whose sending had begun is sent; all else that had arrived stays with the stream it came
/// from, and the next read of it gets it first, in order.
///
/// # Kernel
/// Bulk stays in the kernel where the program ignores SIGPIPE (as Rust programs do unless told otherwise)
/// and nothing forbids `splice(2)`.
///
/// # Errors
/// The first failure of a stream. One that cannot be read ends the relay at once; when one takes no more,
/// what comes from it is still carried to its end.
///
/// # Examples
/// ```
/// # use coronet_io::net::{TcpStream, relay};
/// # async fn demo(client: TcpStream, server: TcpStream) -> std::io::Result<()> {
/// let (up, down) = relay(&client, &server).await?;
/// println!("{up} bytes up, {down} down");
/// # Ok(()) }
/// ```
pub async fn relay(a: &TcpStream, b: &TcpStream) -> Result<(u64, u64), RelayError> {
    relay_with(a, b, |_, _| {}).await
}

/// As [`relay`], and tells of all that is carried: the side that it came from, and the number of bytes
/// that the other side has taken.
///
/// # Cancellation
/// As for [`relay`].
///
/// # Errors
/// As for [`relay`].
pub async fn relay_with(
    a: &TcpStream,
    b: &TcpStream,
    carried: impl Fn(RelaySide, u64),
) -> Result<(u64, u64), RelayError> {
    let (a_to_b, b_to_a) = (Cell::new(0), Cell::new(0));
    let there = forward(a, b, |bytes| {
        a_to_b.set(a_to_b.get() + bytes);
        carried(RelaySide::A, bytes);
    });
    let back = forward(b, a, |bytes| {
        b_to_a.set(b_to_a.get() + bytes);
        carried(RelaySide::B, bytes);
    });
    let result = both(there, back).await;
    let (a_to_b, b_to_a) = (a_to_b.get(), b_to_a.get());
    result.map(|()| (a_to_b, b_to_a)).map_err(|(side, error)| RelayError { a_to_b, b_to_a, side, error })
}

/// Both directions to their end.
async fn both(
    there: impl Future<Output = Result<(), Broken>>,
    back: impl Future<Output = Result<(), Broken>>,
) -> Result<(), (RelaySide, io::Error)> {
    match select(pin!(there), pin!(back)).await {
        Either::Left((first, other)) => one_then_other((RelaySide::A, first), (RelaySide::B, other)).await,
        Either::Right((first, other)) => one_then_other((RelaySide::B, first), (RelaySide::A, other)).await,
    }
}

/// What becomes of the direction of `other`, now that that of `first` is over.
async fn one_then_other(
    (first_from, first): (RelaySide, Result<(), Broken>),
    (other_from, other): (RelaySide, impl Future<Output = Result<(), Broken>>),
) -> Result<(), (RelaySide, io::Error)> {
    match first {
        Ok(()) => other.await.map_err(|Broken { error, is_write }| {
            let failed = if is_write { first_from } else { other_from };
            (failed, error)
        }),
        // Who takes nothing more may have said something before; that is in the other direction.
        Err(Broken { error, is_write: true }) => {
            let _ = other.await;
            Err((other_from, error))
        }
        Err(Broken { error, is_write: false }) => Err((first_from, error)),
    }
}

#[cfg(test)]
mod tests;
