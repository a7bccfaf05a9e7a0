//! The receive engine: one per stream. It owns the bytes that have arrived and nobody
//! has taken, so every read method is a mere waiter that can be dropped.
//!
//! [`next_mode`] is the one place that decides *how* to receive.

use std::cell::Cell;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use coronet_ring::{Account, Group, Lease, OpFuture, OpStream};

use super::TcpStream;
use super::arrived::Arrived;
use super::flow::{Flow, Piece, Traffic};
use super::socket::Socket;
use crate::op;
use crate::receives::count;

/// How a stream receives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// One multishot on buffers that the kernel picks: no memory while nothing arrives.
    Multishot,
    /// The same, and one completion may bring several buffers.
    Bundle,
    /// One receive into a buffer of the stream's own.
    Owned,
    /// The same, with room for much.
    OwnedLarge,
}

/// Why a new receive has to be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// The first one, or the last one ended without a complaint (a full queue, a pause).
    Fresh,
    /// The kernel found no buffer to pick: the others took them in that turn.
    NoBuffers,
    /// That happened too many times in a row. There *is* data, so an owned receive ends at once.
    NeverBuffers,
}

/// What the pool has for a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pool {
    /// There is none.
    Absent,
    /// As large as it may become, and empty; or the stream keeps too much of it.
    Closed,
    /// Buffers, or it will have some before the kernel picks again.
    Open,
}

/// Chooses the mode of the next receive. `bundles`: one may bring several buffers, and it makes a difference.
fn next_mode(cause: Cause, pool: Pool, traffic: Traffic, bundles: bool) -> Mode {
    match (cause, pool, traffic, bundles) {
        (Cause::Fresh | Cause::NoBuffers | Cause::NeverBuffers, Pool::Absent, Traffic::Messages, _) => {
            Mode::Owned
        }
        (Cause::Fresh | Cause::NoBuffers | Cause::NeverBuffers, Pool::Absent, Traffic::Stream, _) => {
            Mode::OwnedLarge
        }
        // Other streams hold them all. Their owner may be waiting for us, so do not wait for them.
        (Cause::Fresh | Cause::NoBuffers, Pool::Closed, Traffic::Messages | Traffic::Stream, _)
        | (Cause::NeverBuffers, Pool::Closed | Pool::Open, Traffic::Messages | Traffic::Stream, _) => {
            Mode::Owned
        }
        // Who found none is armed before those that found one ask again, so it is its turn.
        (Cause::Fresh | Cause::NoBuffers, Pool::Open, Traffic::Messages, _)
        | (Cause::Fresh | Cause::NoBuffers, Pool::Open, Traffic::Stream, false) => Mode::Multishot,
        (Cause::Fresh | Cause::NoBuffers, Pool::Open, Traffic::Stream, true) => Mode::Bundle,
    }
}

/// Bytes that one stream may keep of a pool that had to grow: then it goes on with buffers of its own, until its
/// reader dropped enough. What the pool has at first is not counted, so that nothing is counted as a rule.
const BUDGET_BYTES: u64 = 1024 * 1024;

/// Bytes of an owned receive: as much as one buffer of a plain group.
const OWNED_BYTES: usize = 16 * 1024;
/// Bytes of an owned receive of a stream: below what allocators map anew each time.
const OWNED_LARGE_BYTES: usize = 64 * 1024;
/// A reader that collects more than this gives the pooled buffers back, and keeps a copy.
const POOLED_BYTES_MAX: usize = 64 * 1024;

enum Source {
    Idle(Cause),
    Multishot(OpStream<op::RecvMulti>),
    Owned(OpFuture<op::Recv<Vec<u8>>>),
    /// The peer will send no more, or its connection failed and somebody was told.
    Ended,
}

/// Who receives, and what it sees of its peer.
#[derive(Clone, Copy)]
pub(super) struct By<'a> {
    pub(super) socket: &'a Socket,
    pub(super) flow: &'a Cell<Flow>,
}

impl By<'_> {
    /// Takes in how a receive ended; true if the next one is to be another.
    fn took_in(self, piece: Piece) -> bool {
        let mut flow = self.flow.get();
        let changed = flow.received(piece);
        self.flow.set(flow);
        let receives = self.socket.context.receives();
        match changed {
            None => return false,
            Some(Traffic::Stream) => count(&receives.to_stream),
            Some(Traffic::Messages) => count(&receives.to_messages),
        }
        true
    }

    /// A receive found no buffer; true if that happened too often in a row.
    fn missed(self) -> bool {
        let mut flow = self.flow.get();
        let is_passed_over = flow.missed();
        self.flow.set(flow);
        is_passed_over
    }

    /// A receive brought bytes.
    #[inline]
    fn found(self) {
        let mut flow = self.flow.get();
        if flow.found() {
            self.flow.set(flow);
        }
    }
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
    pub(super) fn poll_recv(&mut self, by: By<'_>, cx: &mut Context<'_>) -> Poll<io::Result<Lease>> {
        if let Some(lease) = self.arrived.take_up_to(usize::MAX) {
            return Poll::Ready(Ok(lease));
        }
        self.poll_more(by, cx)
    }

    /// Waits until at least `wanted` bytes are here; `false` if the stream ends before.
    pub(super) fn poll_collect(
        &mut self,
        wanted: usize,
        by: By<'_>,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<bool>> {
        while self.arrived.bytes() < wanted {
            let before = self.arrived.pieces();
            let more = ready!(self.poll_more(by, cx))?;
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
    fn poll_more(&mut self, by: By<'_>, cx: &mut Context<'_>) -> Poll<io::Result<Lease>> {
        let By { socket, .. } = by;
        loop {
            match &mut self.source {
                Source::Idle(cause) => self.source = arm(*cause, by, is_over_budget(self.arrived.account())),
                Source::Multishot(stream) => match ready!(stream.poll_done(cx)) {
                    Some(done) => {
                        let result = done.result;
                        let is_cut = done.sock_nonempty();
                        let group = socket.context.receive_group().expect("a multishot picks from the group");
                        let mut is_large = false;
                        let account = group.is_grown().then(|| self.arrived.open_account());
                        let was_over = is_over_budget(account.as_ref());
                        let charged = |mut lease: Lease| {
                            account.iter().for_each(|account| lease.charge_to(account));
                            lease
                        };
                        let first = match group.receive_whole(done) {
                            Ok(lease) => charged(lease),
                            Err(bundle) => {
                                is_large = true;
                                let mut leases = group.receive(bundle).map(charged);
                                let first = leases.next().unwrap_or(Lease::empty());
                                leases.for_each(|lease| self.arrived.push(lease));
                                first
                            }
                        };
                        if result > 0 {
                            by.found();
                            if !was_over && is_over_budget(account.as_ref()) {
                                count(&socket.context.receives().over_budget);
                                stream.request_cancel();
                            }
                            if socket.context.bundles() {
                                let piece = match (is_cut, is_large) {
                                    (true, true | false) => Piece::Cut,
                                    (false, true) => Piece::Large,
                                    (false, false) => Piece::Whole,
                                };
                                if by.took_in(piece) {
                                    // What it still brings comes first; then it is armed the other way.
                                    stream.request_cancel();
                                }
                            }
                            return Poll::Ready(Ok(first));
                        }
                        // A buffer may come without bytes: dropped, it goes back.
                        drop(first);
                        self.source =
                            if result == 0 { Source::Ended } else { self.after(errno(result), by)? };
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
                            by.found();
                            self.source = Source::Idle(Cause::Fresh);
                            let piece = if bytes.len() == bytes.capacity() {
                                Piece::Cut
                            } else if bytes.len() > OWNED_BYTES {
                                Piece::Large
                            } else {
                                Piece::Whole
                            };
                            if socket.context.adapts() {
                                by.took_in(piece);
                            }
                            return Poll::Ready(Ok(Lease::copy_of(&bytes)));
                        }
                        Err(error) => self.source = self.after(error, by)?,
                    }
                }
                Source::Ended => return Poll::Ready(Ok(Lease::empty())),
            }
        }
    }

    /// What to do after a receive failed; the error, if it is the user's.
    fn after(&mut self, error: io::Error, by: By<'_>) -> io::Result<Source> {
        match error.raw_os_error() {
            Some(libc::ENOBUFS) => {
                count(&by.socket.context.receives().ran_dry);
                let is_passed_over = by.missed();
                Ok(Source::Idle(if is_passed_over { Cause::NeverBuffers } else { Cause::NoBuffers }))
            }
            Some(libc::EINTR | libc::EAGAIN) => Ok(Source::Idle(Cause::Fresh)),
            // Paused because too much waited to be taken; all of it is taken now.
            Some(libc::ECANCELED) if !by.socket.handle().is_closed() => Ok(Source::Idle(Cause::Fresh)),
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

fn is_over_budget(account: Option<&Account>) -> bool {
    account.is_some_and(|account| account.held() > BUDGET_BYTES)
}

fn pool_of(group: Option<&Group>, is_over_budget: bool) -> Pool {
    match group {
        None => Pool::Absent,
        Some(group) if is_over_budget || group.available() == 0 && !group.can_grow() => Pool::Closed,
        Some(_) => Pool::Open,
    }
}

fn arm(cause: Cause, By { socket, flow }: By<'_>, is_over_budget: bool) -> Source {
    let traffic = flow.get().traffic();
    let group = socket.context.receive_group();
    let pool = pool_of(group, is_over_budget);
    let mode = next_mode(cause, pool, traffic, socket.context.bundles());
    let room = match (mode, group) {
        (Mode::Multishot, Some(group)) => {
            let recv = op::RecvMulti::new(socket.fd.clone(), group.clone());
            return Source::Multishot(socket.handle().submit_multi(recv));
        }
        (Mode::Bundle, Some(group)) => {
            let recv = op::RecvMulti::new(socket.fd.clone(), group.clone()).bundle();
            return Source::Multishot(socket.handle().submit_multi(recv));
        }
        (Mode::Multishot | Mode::Owned, None) | (Mode::Owned, Some(_)) => OWNED_BYTES,
        (Mode::Bundle | Mode::OwnedLarge, None) | (Mode::OwnedLarge, Some(_)) => OWNED_LARGE_BYTES,
    };
    if group.is_some() {
        count(&socket.context.receives().without_pool);
    }
    let recv = op::Recv::new(socket.fd.clone(), Vec::with_capacity(room), 0);
    Source::Owned(socket.handle().submit(recv))
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
        let received = ready!(self.stream.receive.borrow_mut().poll_recv(self.stream.by(), cx));
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

    const EVERY: [Pool; 3] = [Pool::Absent, Pool::Closed, Pool::Open];

    #[test]
    fn an_empty_group_never_makes_a_stream_wait() {
        use Mode::{Multishot, Owned};
        for bundles in [false, true] {
            let next = |cause| EVERY.map(|pool| next_mode(cause, pool, Traffic::Messages, bundles));
            assert_eq!(next(Cause::Fresh), [Owned, Owned, Multishot]);
            assert_eq!(next(Cause::NoBuffers), [Owned, Owned, Multishot]);
            // Data waits: there was no buffer for it again and again, so it comes into one of our own.
            assert_eq!(next(Cause::NeverBuffers), [Owned; 3]);
        }
    }

    #[test]
    fn a_stream_is_received_in_large_pieces_where_there_is_a_way() {
        use Mode::{Bundle, Multishot, Owned, OwnedLarge};
        for (bundles, pooled) in [(false, Multishot), (true, Bundle)] {
            let next = |cause| EVERY.map(|pool| next_mode(cause, pool, Traffic::Stream, bundles));
            assert_eq!(next(Cause::Fresh), [OwnedLarge, Owned, pooled]);
            assert_eq!(next(Cause::NoBuffers), [OwnedLarge, Owned, pooled]);
            assert_eq!(next(Cause::NeverBuffers), [OwnedLarge, Owned, Owned]);
        }
    }
}
