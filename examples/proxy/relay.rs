//! A relay as a proxy needs it: counted, ended when nothing is carried or no time is left, and a word for what
//! went wrong. How bytes get from one side to the other is `coronet::net::relay`'s.

use std::cell::Cell;
use std::future::pending;
use std::io;
use std::pin::pin;
use std::time::Duration;

use coronet::net::{RelaySide, TcpStream, relay_with};
use coronet::sync::Event;
use coronet::time::sleep;
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

/// Carries bytes both ways until both sides have ended.
///
/// # Cancellation
/// Safe for the bytes, as `relay_with` is; the connections can be used further.
///
/// # Errors
/// What ended it before. Then both connections are to be reset: their peers must not take what they have for all.
pub(crate) async fn relay(
    client: End<'_>,
    upstream: End<'_>,
    idle: Option<Duration>,
    cut: &Event,
) -> Result<(), Fault> {
    let has_carried = Cell::new(false);
    let carried = relay_with(client.stream, upstream.stream, |from, bytes| {
        has_carried.set(true);
        match from {
            RelaySide::A => client.bytes.inc_by(bytes),
            RelaySide::B => upstream.bytes.inc_by(bytes),
        };
    });
    let (idled, cut) = (pin!(idled(&has_carried, idle)), pin!(cut.wait()));
    match select(pin!(carried), select(idled, cut)).await {
        Either::Left((Ok(_), _)) => Ok(()),
        Either::Left((Err(broken), _)) => Err(match broken.side {
            RelaySide::A => Fault::Side(client.side, broken.error),
            RelaySide::B => Fault::Side(upstream.side, broken.error),
        }),
        Either::Right((Either::Left(_), _)) => Err(Fault::Idle),
        Either::Right((Either::Right(_), _)) => Err(Fault::Cut),
    }
}

/// How often it is looked during an idle time whether something was carried: reading the clock for each piece
/// would cost more. So an idle connection may live for an eighth longer.
const LOOKS: u32 = 8;

/// Resolves when nothing was carried for `limit`.
async fn idled(has_carried: &Cell<bool>, limit: Option<Duration>) {
    let Some(limit) = limit else { return pending().await };
    let mut quiet = 0;
    while quiet < LOOKS {
        sleep(limit / LOOKS).await;
        quiet = if has_carried.replace(false) { 0 } else { quiet + 1 };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_broken_pipe_is_a_reset_and_a_timeout_is_not() {
        let kind = |side, kind: io::ErrorKind| Fault::Side(side, kind.into()).kind();
        assert_eq!(kind(Side::Client, io::ErrorKind::BrokenPipe), Failure::client_reset);
        assert_eq!(kind(Side::Upstream, io::ErrorKind::TimedOut), Failure::upstream_io);
    }
}
