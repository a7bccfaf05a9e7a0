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

use super::TcpStream;
use crate::buf::{BufResult, IoBuf};
use crate::net::turn::Taken;
use crate::op::Send;

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
///
/// The send of a dropped future, which goes on, and its length. One word: that is rare.
#[derive(Default)]
pub(super) struct Transmit(Option<Box<(DetachedOp, usize)>>);

impl Transmit {
    /// True if new data may be sent at once.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        self.0.is_none()
    }

    /// Waits until nothing is under way; the failure of a dropped write, once.
    pub(super) fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(under_way) = &mut self.0 else { return Poll::Ready(Ok(())) };
        let (send, of) = &mut **under_way;
        let done = ready!(Pin::new(send).poll(cx));
        let of = *of;
        self.0 = None;
        Poll::Ready(match done.value() {
            Ok(sent) if sent as usize == of => Ok(()),
            Ok(sent) => Err(io::Error::new(io::ErrorKind::WriteZero, Partial { sent: sent as usize, of })),
            Err(error) => Err(error),
        })
    }
}

/// The future of [`TcpStream::write`](super::TcpStream::write).
#[must_use = "futures do nothing unless awaited"]
pub struct Write<'a, B: IoBuf> {
    stream: &'a TcpStream,
    turn: Option<Taken<'a>>,
    step: Step<'a, B>,
}

enum Step<'a, B: IoBuf> {
    /// Not sent from here on: never polled, or waiting behind the send of a dropped future.
    Before(B, usize),
    Sending(Sending<'a, Send<B>>),
    Done,
}

impl<'a, B: IoBuf> Write<'a, B> {
    pub(super) fn new(stream: &'a TcpStream, buf: B) -> Self {
        Self { stream, turn: None, step: Step::Before(buf, 0) }
    }

    /// Takes the turn, and waits until nothing is under way.
    #[inline]
    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.turn.is_none() {
            self.turn = Some(self.stream.writer.take("write")?);
        }
        let mut transmit = self.stream.transmit.borrow_mut();
        if transmit.is_idle() { Poll::Ready(Ok(())) } else { transmit.poll_idle(cx) }
    }
}

// Nothing in it is pinned: the operation stands in its slot.
impl<B: IoBuf> Unpin for Write<'_, B> {}

impl<B: IoBuf> Future for Write<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if matches!(this.step, Step::Before(..)) {
            let may_send = ready!(this.poll_turn(cx));
            let Step::Before(buf, start) = std::mem::replace(&mut this.step, Step::Done) else {
                unreachable!()
            };
            let len = buf.as_bytes().len() - start;
            if may_send.is_err() || len == 0 {
                this.turn = None;
                return Poll::Ready((may_send.map(|()| 0), buf));
            }
            let send = Send::new(this.stream.socket.fd.clone(), buf, libc::MSG_WAITALL).starting_at(start);
            let send = this.stream.socket.handle().submit(send);
            this.step = Step::Sending(Sending::new(&this.stream.transmit, send, len));
        }
        let Step::Sending(sending) = &mut this.step else { panic!("polled after it was ready") };
        let output = ready!(Pin::new(sending).poll(cx));
        this.step = Step::Done;
        this.turn = None;
        Poll::Ready(output)
    }
}

impl<B: IoBuf> fmt::Debug for Write<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write")
            .field("started", &matches!(self.step, Step::Sending(_)))
            .finish_non_exhaustive()
    }
}

/// The future of [`TcpStream::write_all`](super::TcpStream::write_all).
#[must_use = "futures do nothing unless awaited"]
pub struct WriteAll<'a, B: IoBuf> {
    write: Write<'a, B>,
    sent: usize,
}

impl<'a, B: IoBuf> WriteAll<'a, B> {
    pub(super) fn new(stream: &'a TcpStream, buf: B) -> Self {
        Self { write: Write::new(stream, buf), sent: 0 }
    }
}

impl<B: IoBuf> Future for WriteAll<'_, B> {
    type Output = BufResult<(), B>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        loop {
            let (result, buf) = ready!(Pin::new(&mut self.write).poll(cx));
            match result {
                Ok(0) if !buf.as_bytes().is_empty() => {
                    let text = "the socket takes no more bytes";
                    return Poll::Ready((Err(io::Error::new(io::ErrorKind::WriteZero, text)), buf));
                }
                Ok(count) => self.sent += count,
                Err(error) => return Poll::Ready((Err(error), buf)),
            }
            if self.sent >= buf.as_bytes().len() {
                return Poll::Ready((Ok(()), buf));
            }
            // The kernel takes all of it, up to 2 GiB; a short count comes before an error.
            self.write.step = Step::Before(buf, self.sent);
        }
    }
}

impl<B: IoBuf> fmt::Debug for WriteAll<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteAll").finish_non_exhaustive()
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
            self.transmit.borrow_mut().0 = Some(Box::new((send.detach(), self.len)));
        }
    }
}
