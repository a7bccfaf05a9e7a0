//! Bytes both ways between two connections, each as it came: what the kernel received into a pooled buffer is
//! sent from there.
//!
//! The end of one direction is passed on and the other goes on. A direction reads only when what it read before
//! is sent, so a slow side slows the other down and memory stays bounded.

use std::cell::Cell;
use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::time::Duration;

use coronet::net::{Shutdown, TcpStream};
use coronet::sync::Event;
use coronet::time::{Instant, sleep_until};
use futures_util::future::{Either, select};
use prometheus_client::metrics::counter::Counter;

use crate::metrics::Failure;

/// How a relay ended, unless both sides ended on their own accord.
#[derive(Debug)]
pub(crate) enum Fault {
    /// One side failed, while it was read from or written to.
    Side(Side, io::Error),
    /// Nothing was carried for too long.
    Idle,
    /// There is no time left.
    Cut,
}

/// Whose connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Upstream,
}

impl Fault {
    /// What it counts as.
    pub(crate) fn kind(&self) -> Failure {
        match self {
            Self::Idle => Failure::idle,
            Self::Cut => Failure::cut,
            Self::Side(side, error) => {
                // A write to a connection that was reset and whose reset somebody heard of is a broken pipe.
                let is_reset =
                    matches!(error.kind(), io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe);
                match (side, is_reset) {
                    (Side::Client, true) => Failure::client_reset,
                    (Side::Client, false) => Failure::client_io,
                    (Side::Upstream, true) => Failure::upstream_reset,
                    (Side::Upstream, false) => Failure::upstream_io,
                }
            }
        }
    }
}

/// One side of a relay.
#[derive(Clone, Copy)]
pub(crate) struct End<'a> {
    pub(crate) side: Side,
    pub(crate) stream: &'a TcpStream,
    /// Counts the bytes that come from here, when the other side has taken them.
    pub(crate) bytes: &'a Counter,
}

/// Why one direction failed.
struct Broken {
    fault: Fault,
    is_write: bool,
}

/// Carries bytes both ways until both sides have ended.
///
/// # Cancellation
/// A piece that was on its way is sent, or the connection ends: see `TcpStream::write_all`.
///
/// # Errors
/// What ended it before. Then both connections are to be reset: their peers must not take what they have for all.
pub(crate) async fn relay(
    client: End<'_>,
    upstream: End<'_>,
    idle: Option<Duration>,
    cut: &Event,
) -> Result<(), Fault> {
    let active = Cell::new(Instant::now());
    let carried = both(pump(client, upstream, &active), pump(upstream, client, &active));
    let (idled, cut) = (pin!(idled(&active, idle)), pin!(cut.wait()));
    match select(pin!(carried), select(idled, cut)).await {
        Either::Left((result, _)) => result,
        Either::Right((Either::Left(_), _)) => Err(Fault::Idle),
        Either::Right((Either::Right(_), _)) => Err(Fault::Cut),
    }
}

/// Both directions to their end.
async fn both(
    up: impl Future<Output = Result<(), Broken>>,
    down: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Fault> {
    match select(pin!(up), pin!(down)).await {
        Either::Left((first, other)) => and_then_the_other(first, other).await,
        Either::Right((first, other)) => and_then_the_other(first, other).await,
    }
}

async fn and_then_the_other(
    first: Result<(), Broken>,
    other: impl Future<Output = Result<(), Broken>>,
) -> Result<(), Fault> {
    match first {
        Ok(()) => other.await.map_err(|broken| broken.fault),
        // Who takes nothing more may have said something before; that is in the other direction.
        Err(Broken { fault, is_write: true }) => {
            let _ = other.await;
            Err(fault)
        }
        Err(Broken { fault, is_write: false }) => Err(fault),
    }
}

/// One direction.
async fn pump(from: End<'_>, to: End<'_>, active: &Cell<Instant>) -> Result<(), Broken> {
    let reading = |error| Broken { fault: Fault::Side(from.side, error), is_write: false };
    let writing = |error| Broken { fault: Fault::Side(to.side, error), is_write: true };
    loop {
        let bytes = from.stream.recv().await.map_err(reading)?;
        active.set(Instant::now());
        if bytes.is_empty() {
            return match to.stream.shutdown(Shutdown::Write) {
                // Gone already, and if that was no good end, the other direction knows.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                result => result.map_err(writing),
            };
        }
        let count = bytes.len() as u64;
        to.stream.write_all(bytes).await.0.map_err(writing)?;
        active.set(Instant::now());
        from.bytes.inc_by(count);
    }
}

/// Resolves when nothing was carried for `limit`.
async fn idled(active: &Cell<Instant>, limit: Option<Duration>) {
    let Some(limit) = limit else { return pending().await };
    while active.get().elapsed() < limit {
        sleep_until(active.get() + limit).await;
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;
    use std::task::{Context, Waker};

    use super::*;

    fn reset(side: Side, is_write: bool) -> Broken {
        Broken { fault: Fault::Side(side, io::ErrorKind::ConnectionReset.into()), is_write }
    }

    /// What comes out of the two directions, and whether the one that is not over at once got to its end.
    fn outcome(first: Result<(), Broken>) -> (Option<Result<(), Failure>>, bool) {
        let is_over = Cell::new(false);
        let later = async {
            coronet::task::yield_now().await;
            is_over.set(true);
            Ok(())
        };
        let mut both = pin!(both(ready(first), later));
        let mut cx = Context::from_waker(Waker::noop());
        let polls = (0..3).map(|_| both.as_mut().poll(&mut cx));
        let end = polls.filter_map(|poll| match poll {
            std::task::Poll::Ready(end) => Some(end.map_err(|fault| fault.kind())),
            std::task::Poll::Pending => None,
        });
        let end = end.take(1).next();
        (end, is_over.get())
    }

    #[test]
    fn the_end_of_one_direction_leaves_the_other_alone() {
        assert_eq!(outcome(Ok(())), (Some(Ok(())), true));
    }

    /// The trap: the answer of an upstream that takes no more of the question is lost.
    #[test]
    fn a_side_that_takes_no_more_is_still_listened_to() {
        let end = Some(Err(Failure::upstream_reset));
        assert_eq!(outcome(Err(reset(Side::Upstream, true))), (end, true));
    }

    #[test]
    fn a_side_that_cannot_be_read_ends_both_directions() {
        let end = Some(Err(Failure::client_reset));
        assert_eq!(outcome(Err(reset(Side::Client, false))), (end, false));
    }

    #[test]
    fn a_broken_pipe_is_a_reset_and_a_timeout_is_not() {
        let kind = |side, kind: io::ErrorKind| Fault::Side(side, kind.into()).kind();
        assert_eq!(kind(Side::Client, io::ErrorKind::BrokenPipe), Failure::client_reset);
        assert_eq!(kind(Side::Upstream, io::ErrorKind::TimedOut), Failure::upstream_io);
    }
}
