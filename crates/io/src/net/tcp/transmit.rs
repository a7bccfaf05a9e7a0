//! The send engine: one send in flight per stream, in order, and none torn.
//!
//! A write whose future is dropped goes on; the next write waits behind it. If it then
//! falls short, the stream says so once, before it takes new data.

use std::cell::RefCell;
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use coronet_ring::{DetachedOp, Op, OpFuture};

use crate::buf::BufResult;

/// A write whose future was dropped did not send all of its bytes.
///
/// Inside an [`io::Error`] of kind `WriteZero`; reported once, by the next write, flush or
/// shutdown of the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Partial {
    /// Bytes that were sent.
    pub sent: usize,
    /// Bytes that the write had.
    pub of: usize,
}

impl fmt::Display for Partial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "an earlier write, whose future was dropped, sent {} of its {} bytes", self.sent, self.of)
    }
}

impl std::error::Error for Partial {}

/// The state of one direction.
#[derive(Default)]
pub(super) struct Transmit {
    /// The send of a dropped future, and its length.
    under_way: Option<(DetachedOp, usize)>,
    failed: Option<io::Error>,
}

impl Transmit {
    /// True if new data may be sent at once.
    pub(super) fn is_idle(&self) -> bool {
        self.under_way.is_none() && self.failed.is_none()
    }

    /// True if the send of a dropped future goes on.
    pub(super) fn is_under_way(&self) -> bool {
        self.under_way.is_some()
    }

    /// Waits until nothing is under way; the failure of a dropped write, once.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some((send, of)) = &mut self.under_way {
            let done = ready!(Pin::new(send).poll(cx));
            let of = *of;
            self.under_way = None;
            self.failed = match done.value() {
                Ok(sent) if sent as usize == of => None,
                Ok(sent) => {
                    let partial = Partial { sent: sent as usize, of };
                    Some(io::Error::new(io::ErrorKind::WriteZero, partial))
                }
                Err(error) => Some(error),
            };
        }
        Poll::Ready(self.failed.take().map_or(Ok(()), Err))
    }
}

/// One send, which the stream goes on with if this is dropped.
pub(super) struct Sending<'a, O: Op> {
    transmit: &'a RefCell<Transmit>,
    send: Option<OpFuture<O>>,
    len: usize,
}

impl<'a, O: Op> Sending<'a, O> {
    /// Nothing else may be under way.
    pub(super) fn new(transmit: &'a RefCell<Transmit>, send: OpFuture<O>, len: usize) -> Self {
        debug_assert!(transmit.borrow().is_idle());
        Self { transmit, send: Some(send), len }
    }
}

impl<B, O: Op<Output = BufResult<usize, B>>> Future for Sending<'_, O> {
    type Output = BufResult<usize, B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let send = self.send.as_mut().expect("polled after it was ready");
        let output = ready!(Pin::new(send).poll(cx));
        self.send = None;
        Poll::Ready(output)
    }
}

impl<O: Op> Drop for Sending<'_, O> {
    fn drop(&mut self) {
        if let Some(send) = self.send.take() {
            self.transmit.borrow_mut().under_way = Some((send.detach(), self.len));
        }
    }
}
