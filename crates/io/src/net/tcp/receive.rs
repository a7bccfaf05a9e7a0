//! The receive engine: one per stream. It owns the bytes that have arrived and nobody
//! has taken, so every read method is a mere waiter that can be dropped.
//!
//! [`next_mode`] is the one place that decides *how* to receive.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use coronet_ring::{Lease, OpFuture, OpStream};

use super::TcpStream;
use super::arrived::Arrived;
use super::socket::Socket;
use crate::op;

/// How a stream receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// One multishot on buffers that the kernel picks: no memory while nothing arrives.
    Multishot,
    /// One receive into a buffer of the stream's own.
    Owned,
}

/// Why a new receive has to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The first one, or the last one ended without a complaint (a full queue, a pause).
    Fresh,
    /// The kernel found no buffer to pick. There *is* data, so an owned receive ends at once.
    NoBuffers,
}

/// Chooses the mode of the next receive.
///
/// `buffers` is what the kernel can pick from now, `None` where there are no groups.
fn next_mode(cause: Cause, buffers: Option<usize>) -> Mode {
    match (cause, buffers) {
        (_, None) => Mode::Owned,
        // Other streams hold them all. Their owner may be waiting for us, so do not wait for them.
        (Cause::NoBuffers, Some(_)) | (Cause::Fresh, Some(0)) => Mode::Owned,
        (Cause::Fresh, Some(_)) => Mode::Multishot,
    }
}

/// Bytes of an owned receive: as much as one buffer of a plain group.
const OWNED_BYTES: usize = 16 * 1024;
/// A reader that collects more than this gives the pooled buffers back, and keeps a copy.
const POOLED_BYTES_MAX: usize = 64 * 1024;

enum Source {
    Idle(Cause),
    Multishot(OpStream<op::RecvMulti>),
    Owned(OpFuture<op::Recv<Vec<u8>>>),
    /// The peer will send no more, or its connection failed and somebody was told.
    Ended,
}

/// The state of one direction.
pub(super) struct Receive {
    source: Source,
    arrived: Arrived,
}

impl Receive {
    pub(super) fn new() -> Self {
        Self { source: Source::Idle(Cause::Fresh), arrived: Arrived::default() }
    }

    /// The next bytes, as they arrived; empty at the end of the stream.
    #[inline]
    pub(super) fn poll_recv(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<Lease>> {
        if let Some(lease) = self.arrived.take_up_to(usize::MAX) {
            return Poll::Ready(Ok(lease));
        }
        self.poll_more(socket, cx)
    }

    /// Waits until at least `wanted` bytes are here; `false` if the stream ends before.
    pub(super) fn poll_collect(
        &mut self,
        wanted: usize,
        socket: &Socket,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        while self.arrived.bytes() < wanted {
            let before = self.arrived.pieces();
            let more = ready!(self.poll_more(socket, cx))?;
            if more.is_empty() {
                return Poll::Ready(Ok(false));
            }
            // Behind what had arrived before, and before what came along with it.
            self.arrived.insert(before, more);
            if self.arrived.bytes() > POOLED_BYTES_MAX && self.arrived.pieces() > 1 {
                self.arrived.compact(wanted);
            }
        }
        Poll::Ready(Ok(true))
    }

    /// What is here and nobody has taken.
    pub(super) fn arrived(&mut self) -> &mut Arrived {
        &mut self.arrived
    }

    /// True if bytes wait to be taken.
    pub(super) fn has_arrived(&self) -> bool {
        self.arrived.bytes() > 0
    }

    /// True if the kernel works for this direction.
    pub(super) fn is_armed(&self) -> bool {
        matches!(self.source, Source::Multishot(_) | Source::Owned(_))
    }

    /// Ends what the kernel does for this direction; what still arrives is kept.
    ///
    /// The error of a connection that failed meanwhile: the kernel reports it once. It came behind
    /// what is kept.
    pub(super) fn poll_disarm(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            match &mut self.source {
                Source::Multishot(stream) => {
                    stream.request_cancel();
                    match ready!(stream.poll_item(cx)) {
                        Some(Ok(received)) => received.for_each(|lease| self.arrived.push(lease)),
                        Some(Err(error)) => self.stopped(error)?,
                        None => self.source = Source::Idle(Cause::Fresh),
                    }
                }
                Source::Owned(recv) => {
                    recv.request_cancel();
                    let (result, bytes) = ready!(Pin::new(recv).poll(cx));
                    self.arrived.push(Lease::copy_of(&bytes));
                    self.source = Source::Idle(Cause::Fresh);
                    result.map_or_else(|error| self.stopped(error), |_| Ok(()))?;
                }
                Source::Idle(_) | Source::Ended => return Poll::Ready(Ok(())),
            }
        }
    }

    /// A receive failed that was asked to stop; the error, if that was not the reason.
    fn stopped(&mut self, error: io::Error) -> io::Result<()> {
        match error.raw_os_error() {
            Some(libc::ECANCELED | libc::ENOBUFS | libc::EINTR | libc::EAGAIN) => Ok(()),
            _ => {
                self.source = Source::Ended;
                Err(error)
            }
        }
    }

    /// Waits for more bytes, and does not queue the first of them: nearly always there is one
    /// piece, and somebody who wants it. Empty at the end of the stream.
    #[inline]
    fn poll_more(&mut self, socket: &Socket, cx: &mut Context<'_>) -> Poll<io::Result<Lease>> {
        loop {
            match &mut self.source {
                Source::Idle(cause) => self.source = arm(*cause, socket),
                Source::Multishot(stream) => match ready!(stream.poll_done(cx)) {
                    Some(done) => {
                        let result = done.result;
                        let group = socket.context.receive_group().expect("a multishot picks from the group");
                        let first = match group.receive_whole(done) {
                            Ok(lease) => lease,
                            Err(bundle) => {
                                let mut leases = group.receive(bundle);
                                let first = leases.next().unwrap_or(Lease::empty());
                                leases.for_each(|lease| self.arrived.push(lease));
                                first
                            }
                        };
                        if result > 0 {
                            return Poll::Ready(Ok(first));
                        }
                        // A buffer may come without bytes: dropped, it goes back.
                        drop(first);
                        self.source =
                            if result == 0 { Source::Ended } else { self.after(errno(result), socket)? };
                    }
                    #[cfg(feature = "mutants")]
                    None if coronet_ring::mutants::is("no-rearm") => self.source = Source::Ended,
                    // Its last completion carried bytes: it did not fail, it only ended.
                    None => self.source = Source::Idle(Cause::Fresh),
                },
                Source::Owned(recv) => {
                    let (result, bytes) = ready!(Pin::new(recv).poll(cx));
                    match result {
                        Ok(0) => self.source = Source::Ended,
                        Ok(_) => {
                            self.source = Source::Idle(Cause::Fresh);
                            return Poll::Ready(Ok(Lease::copy_of(&bytes)));
                        }
                        Err(error) => self.source = self.after(error, socket)?,
                    }
                }
                Source::Ended => return Poll::Ready(Ok(Lease::empty())),
            }
        }
    }

    /// What to do after a receive failed; the error, if it is the user's.
    fn after(&mut self, error: io::Error, socket: &Socket) -> io::Result<Source> {
        match error.raw_os_error() {
            Some(libc::ENOBUFS) => Ok(Source::Idle(Cause::NoBuffers)),
            Some(libc::EINTR | libc::EAGAIN) => Ok(Source::Idle(Cause::Fresh)),
            // Paused because too much waited to be taken; all of it is taken now.
            Some(libc::ECANCELED) if !socket.handle().is_closed() => Ok(Source::Idle(Cause::Fresh)),
            _ => {
                self.source = Source::Ended;
                Err(error)
            }
        }
    }
}

fn errno(result: i32) -> io::Error {
    io::Error::from_raw_os_error(-result)
}

fn arm(cause: Cause, socket: &Socket) -> Source {
    let group = socket.context.receive_group();
    match (next_mode(cause, group.map(coronet_ring::Group::available)), group) {
        (Mode::Multishot, Some(group)) => {
            let recv = op::RecvMulti::new(socket.fd.clone(), group.clone());
            Source::Multishot(socket.handle().submit_multi(recv))
        }
        (Mode::Multishot, None) | (Mode::Owned, _) => {
            let recv = op::Recv::new(socket.fd.clone(), Vec::with_capacity(OWNED_BYTES), 0);
            Source::Owned(socket.handle().submit(recv))
        }
    }
}

/// The future of [`TcpStream::recv`](super::TcpStream::recv).
///
/// Written by hand, like [`Write`](super::Write): a future of few words keeps a task small, and
/// a task that waits among thousands costs the cache lines it has to fetch.
#[must_use = "futures do nothing unless awaited"]
pub struct RecvLease<'a> {
    stream: &'a TcpStream,
    has_turn: bool,
}

impl<'a> RecvLease<'a> {
    pub(super) fn new(stream: &'a TcpStream) -> Self {
        Self { stream, has_turn: false }
    }
}

impl Future for RecvLease<'_> {
    type Output = io::Result<Lease>;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<Lease>> {
        if !self.has_turn {
            self.stream.reader.take("read")?.keep();
            self.has_turn = true;
        }
        let received = ready!(self.stream.receive.borrow_mut().poll_recv(&self.stream.socket, cx));
        self.has_turn = false;
        self.stream.reader.give_back();
        Poll::Ready(received)
    }
}

impl Drop for RecvLease<'_> {
    #[inline]
    fn drop(&mut self) {
        if self.has_turn {
            self.stream.reader.give_back();
        }
    }
}

impl std::fmt::Debug for RecvLease<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecvLease").field("polled", &self.has_turn).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_group_never_makes_a_stream_wait() {
        assert_eq!(next_mode(Cause::Fresh, Some(3)), Mode::Multishot);
        assert_eq!(next_mode(Cause::Fresh, Some(0)), Mode::Owned);
        assert_eq!(next_mode(Cause::NoBuffers, Some(0)), Mode::Owned);
        assert_eq!(next_mode(Cause::NoBuffers, Some(3)), Mode::Owned, "data waits now");
        assert_eq!(next_mode(Cause::Fresh, None), Mode::Owned);
    }
}
