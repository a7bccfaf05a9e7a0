//! The send engine: one send in flight per stream, in order, and none torn.
//!
//! A write whose future is dropped goes on; the next write waits behind it. If it then
//! falls short, the stream says so once, before it takes new data.

use std::cell::{Cell, OnceCell};
use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use coronet_ring::{Op, OpFuture, SharedFd, Started};

use super::TcpStream;
use super::course::LEND_FROM;
use super::lending::{self, Lending, Lent, UnderWay};
use super::socket::Socket;
use crate::buf::{BufResult, IoBuf};
use crate::net::turn::Turn;
use crate::op::{Send, Sent, is_refusal};

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

/// Sends after which a stream counts as busy, and its socket gets a place in the ring's own table of
/// files: that costs two system calls, about 1 us, and spares each further send 1-2 % of some 4 us.
const BUSY_AFTER: u8 = 16;

/// Counts the sends of a stream, up to the limit.
#[derive(Default)]
pub(super) struct Sends(Cell<u8>);

impl Sends {
    #[inline]
    fn are_many(&self) -> bool {
        self.0.get() == BUSY_AFTER
    }

    /// One more; true if it is the one that makes them many.
    fn count(&self) -> bool {
        self.0.set(self.0.get() + 1);
        self.are_many()
    }
}

/// The state of one direction.
pub(super) struct Transmit {
    /// For the next send, which takes it along and brings it back: counting the socket up and down
    /// would fetch a cache line of its own for every message. Missing after a dropped write.
    spare: Cell<Option<SharedFd>>,
    /// What most streams never need. One word.
    rare: OnceCell<Box<Rare>>,
}

struct Rare {
    /// The send of a dropped future, which goes on.
    under_way: Cell<Option<Box<UnderWay>>>,
    lending: Lending,
}

impl Transmit {
    pub(super) fn new() -> Self {
        Self { spare: Cell::new(None), rare: OnceCell::new() }
    }

    /// Made by a send that is dropped, or by a buffer that is large enough to be lent.
    fn rare(&self, socket: &Socket) -> &Rare {
        let make = || {
            let lending = Lending::new(socket.context.reports_copies());
            Box::new(Rare { under_way: Cell::new(None), lending })
        };
        self.rare.get_or_init(make)
    }

    /// What the connection knows about lending to the network.
    pub(super) fn lending(&self, socket: &Socket) -> &Lending {
        &self.rare(socket).lending
    }

    /// True if new data may be sent at once.
    #[inline]
    pub(super) fn is_idle(&self) -> bool {
        let Some(rare) = self.rare.get() else { return true };
        #[cfg(feature = "mutants")]
        if coronet_ring::mutants::is("torn-write") {
            drop(rare.under_way.take());
        }
        let under_way = rare.under_way.take();
        let is_idle = under_way.is_none();
        rare.under_way.set(under_way);
        is_idle
    }

    /// Takes the turn, which the caller keeps and knows by `has_turn`, and waits until nothing is under way.
    #[inline]
    pub(super) fn poll_turn(
        &self,
        writer: &Turn,
        has_turn: &mut bool,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        if !*has_turn {
            match writer.take("write") {
                Ok(turn) => turn.keep(),
                Err(error) => return Poll::Ready(Err(error)),
            }
            *has_turn = true;
            if self.is_idle() {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_idle(cx)
    }

    /// Waits until nothing is under way; the failure of a dropped write, once.
    pub(super) fn poll_idle(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Some(rare) = self.rare.get() else { return Poll::Ready(Ok(())) };
        let Some(mut under_way) = rare.under_way.take() else { return Poll::Ready(Ok(())) };
        let of = under_way.of;
        let Poll::Ready(done) = under_way.poll(cx) else {
            rare.under_way.set(Some(under_way));
            return Poll::Pending;
        };
        Poll::Ready(match done.value() {
            Ok(sent) if sent as usize == of => Ok(()),
            #[cfg(feature = "mutants")]
            Ok(_) if coronet_ring::mutants::is("partial-unsaid") => Ok(()),
            Ok(sent) => Err(io::Error::new(io::ErrorKind::WriteZero, Partial { sent: sent as usize, of })),
            Err(error) => Err(error),
        })
    }

    /// The socket, for one send.
    #[inline]
    pub(super) fn take_socket(&self, socket: &Socket, sends: &Sends) -> SharedFd {
        let spare = self.spare.take();
        if sends.are_many() {
            spare.unwrap_or_else(|| held_or_not(socket))
        } else if sends.count() {
            held_or_not(socket)
        } else {
            spare.unwrap_or_else(|| socket.fd.clone())
        }
    }

    /// Keeps the socket of a send for the next one.
    #[inline]
    pub(super) fn put_back(&self, socket: SharedFd) {
        let before = self.spare.replace(Some(socket));
        debug_assert!(before.is_none(), "one send at a time");
    }

    /// Goes on with the send of a dropped future.
    pub(super) fn go_on(&self, socket: &Socket, send: UnderWay) {
        let before = self.rare(socket).under_way.replace(Some(Box::new(send)));
        debug_assert!(before.is_none(), "one send at a time");
    }
}

fn held_or_not(socket: &Socket) -> SharedFd {
    socket.handle().hold(&socket.fd).unwrap_or_else(|| socket.fd.clone())
}

/// The future of [`TcpStream::write`](super::TcpStream::write).
///
/// Written by hand, and of few words: see [`RecvLease`](super::RecvLease).
#[must_use = "futures do nothing unless awaited"]
pub struct Write<'a, B: IoBuf> {
    stream: &'a TcpStream,
    step: Step<B>,
}

enum Step<B: IoBuf> {
    /// Not sent from `start` on: never polled, or waiting behind the send of a dropped future.
    Before {
        buf: B,
        start: usize,
        has_turn: bool,
    },
    /// It has the turn.
    Sending {
        send: OpFuture<Send<B>>,
        len: Len,
    },
    /// It has the turn, and the network has a second handle to the bytes.
    Lent(Box<Lent<B>>),
    Done,
}

/// Bytes of one send, of which the kernel takes 2 GiB at the most.
struct Len(u32);

impl<'a, B: IoBuf> Write<'a, B> {
    pub(super) fn new(stream: &'a TcpStream, buf: B) -> Self {
        Self { stream, step: Step::Before { buf, start: 0, has_turn: false } }
    }

    /// Waits for the turn, and submits; the buffer if there is nothing to wait for.
    #[inline]
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Option<BufResult<usize, B>>> {
        let Step::Before { has_turn, .. } = &mut self.step else { return Poll::Ready(None) };
        let stream = self.stream;
        let may_send = ready!(stream.transmit.poll_turn(&stream.writer, has_turn, cx));
        let Step::Before { buf, start, has_turn } = std::mem::replace(&mut self.step, Step::Done) else {
            unreachable!("looked at above")
        };
        let len = buf.as_bytes().len() - start;
        if may_send.is_err() || len == 0 {
            if has_turn {
                stream.writer.give_back();
            }
            return Poll::Ready(Some((may_send.map(|()| 0), buf)));
        }
        // Most buffers cannot be shared, and the compiler knows.
        if len >= LEND_FROM
            && let Some(shared) = buf.share()
            && let Some(sending) = lending::if_it_pays(stream, shared, start, len)
        {
            self.step = Step::Lent(Box::new(Lent::new(sending, buf, start)));
            return Poll::Ready(None);
        }
        let socket = stream.transmit.take_socket(&stream.socket, &stream.sends);
        let send = Send::new(socket, buf, libc::MSG_WAITALL).starting_at(start);
        match stream.socket.handle().send(send) {
            Started::Over(sent) => Poll::Ready(Some(self.over(sent))),
            Started::UnderWay(send) => {
                let len = Len(u32::try_from(len).unwrap_or(u32::MAX));
                self.step = Step::Sending { send, len };
                Poll::Ready(None)
            }
        }
    }

    /// The turn is given back, and what the send took along.
    #[inline]
    fn over(&self, sent: Sent<B>) -> BufResult<usize, B> {
        self.stream.transmit.put_back(sent.socket);
        self.stream.writer.give_back();
        (sent.result, sent.buf)
    }
}

impl<'a, B: IoBuf> Write<'a, B> {
    /// As [`Self::new`], for one that has the turn, and behind nothing.
    pub(super) fn with_turn(stream: &'a TcpStream, buf: B) -> Self {
        Self { stream, step: Step::Before { buf, start: 0, has_turn: true } }
    }

    /// The result of a write that was lent.
    #[cold]
    fn poll_lent(&mut self, cx: &mut Context<'_>) -> Poll<BufResult<usize, B>> {
        let Step::Lent(lent) = &mut self.step else { panic!("polled after it was ready") };
        let done = ready!(lent.poll(cx));
        let Step::Lent(lent) = std::mem::replace(&mut self.step, Step::Done) else { unreachable!() };
        let Lent { buf, start, .. } = *lent;
        if is_refusal(&done) {
            // Nothing was sent, and from here on the connection copies.
            self.step = Step::Before { buf, start, has_turn: true };
            return Pin::new(self).poll(cx);
        }
        self.stream.writer.give_back();
        Poll::Ready((done.value().map(|count| count as usize), buf))
    }
}

// Nothing in it is pinned: the operation stands in its slot.
impl<B: IoBuf> Unpin for Write<'_, B> {}

impl<B: IoBuf> Future for Write<'_, B> {
    type Output = BufResult<usize, B>;

    #[inline]
    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if let Some(output) = ready!(this.poll_start(cx)) {
            return Poll::Ready(output);
        }
        let Step::Sending { send, .. } = &mut this.step else { return this.poll_lent(cx) };
        let sent = ready!(Pin::new(send).poll(cx));
        this.step = Step::Done;
        Poll::Ready(this.over(sent))
    }
}

impl<B: IoBuf> Drop for Write<'_, B> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Before { has_turn: false, .. } | Step::Done => {}
            Step::Before { has_turn: true, .. } => self.stream.writer.give_back(),
            Step::Sending { send, len } => {
                let send = UnderWay::copied(send.detach(), len.0 as usize);
                self.stream.transmit.go_on(&self.stream.socket, send);
                self.stream.writer.give_back();
            }
            Step::Lent(lent) => {
                self.stream.transmit.go_on(&self.stream.socket, lent.abandon());
                self.stream.writer.give_back();
            }
        }
    }
}

impl<B: IoBuf> fmt::Debug for Write<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Write")
            .field("started", &matches!(self.step, Step::Sending { .. } | Step::Lent(_)))
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

    #[inline]
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
            self.write.step = Step::Before { buf, start: self.sent, has_turn: false };
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
    stream: &'a TcpStream,
    send: Option<OpFuture<O>>,
    len: usize,
}

impl<'a, O: Op> Sending<'a, O> {
    /// Nothing else may be under way.
    pub(super) fn new(stream: &'a TcpStream, send: OpFuture<O>, len: usize) -> Self {
        debug_assert!(stream.transmit.is_idle());
        Self { stream, send: Some(send), len }
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
            let send = UnderWay::copied(send.detach(), self.len);
            self.stream.transmit.go_on(&self.stream.socket, send);
        }
    }
}
