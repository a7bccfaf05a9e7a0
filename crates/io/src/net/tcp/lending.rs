//! What a stream remembers about lending to the network, and the sends that lend.
//!
//! Whether one should is decided in `course.rs`.

use std::cell::Cell;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use coronet_ring::{Completion, DetachedOp, EarlyOp};

use super::TcpStream;
use super::course::{self, Course};
use crate::buf::IoBuf;
use crate::op::{SendZc, Ticket, Usage, is_refusal};

/// What one connection knows.
pub(super) struct Lending {
    course: Cell<Course>,
    /// What the kernel has said of its sends, whoever waits for them.
    usage: Rc<Cell<Usage>>,
}

impl Lending {
    pub(super) fn new(kernel_reports: bool) -> Self {
        Self { course: Cell::new(course::begin(kernel_reports)), usage: Rc::default() }
    }

    fn course(&self) -> Course {
        let course = course::learn(self.course.get(), self.usage.get());
        self.course.set(course);
        course
    }
}

/// A write that was lent by itself: a second handle to its bytes stays with the network.
pub(super) struct Lent<B> {
    send: DetachedOp,
    pub(super) ticket: Rc<Ticket>,
    pub(super) buf: B,
    pub(super) start: usize,
}

impl<B: IoBuf> Lent<B> {
    pub(super) fn new((send, ticket): (DetachedOp, Rc<Ticket>), buf: B, start: usize) -> Self {
        Self { send, ticket, buf, start }
    }

    /// The result; the bytes stay with the network.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Completion> {
        let done = ready!(Pin::new(&mut self.send).poll(cx));
        if is_refusal(&done) {
            self.ticket.learn(Usage::Refused);
        }
        Poll::Ready(done)
    }

    /// What goes on when the write is dropped.
    pub(super) fn abandon(self) -> UnderWay {
        let len = self.buf.as_bytes().len() - self.start;
        UnderWay::lent(self.send, len, self.ticket)
    }
}

/// Lends `len` bytes of `shared` behind `start`, if that pays.
#[cold]
pub(super) fn if_it_pays<B: IoBuf>(
    stream: &TcpStream,
    shared: B,
    start: usize,
    len: usize,
) -> Option<(DetachedOp, Rc<Ticket>)> {
    let lending = stream.transmit.lending(&stream.socket);
    let course = lending.course();
    // A handle that shows other bytes than the buffer is not one to send from.
    if !course::lends(course, len) || shared.as_bytes().len() != start + len {
        return None;
    }
    lending.course.set(course::after_lending(course));
    let (send, ticket) = lend(stream, shared, start);
    Some((send.detach(), ticket))
}

/// Lends the bytes of `buf` behind `start`, whether or not it pays.
pub(super) fn lend<B: IoBuf>(stream: &TcpStream, buf: B, start: usize) -> (EarlyOp<SendZc<B>>, Rc<Ticket>) {
    let handle = stream.socket.handle();
    let ticket = Ticket::new(handle.clone(), stream.transmit.lending(&stream.socket).usage.clone());
    // The stream's own clone stays for the next send.
    let socket = stream.transmit.take_socket(&stream.socket, &stream.sends);
    let lent = socket.clone();
    stream.transmit.put_back(socket);
    let report = stream.socket.context.reports_copies();
    let send = handle.submit(SendZc::new(lent, buf, start, report, ticket.clone())).early();
    (send, ticket)
}

/// The send of a dropped future, which goes on.
pub(super) struct UnderWay {
    /// Missing between a refusal and the copying send that takes its place.
    send: Option<DetachedOp>,
    pub(super) of: usize,
    ticket: Option<Rc<Ticket>>,
}

impl UnderWay {
    pub(super) fn copied(send: DetachedOp, of: usize) -> Self {
        Self { send: Some(send), of, ticket: None }
    }

    pub(super) fn lent(send: DetachedOp, of: usize, ticket: Rc<Ticket>) -> Self {
        ticket.abandon();
        Self { send: Some(send), of, ticket: Some(ticket) }
    }

    /// One whose refusal is known; it goes again when its memory is back.
    pub(super) fn refused(of: usize, ticket: Rc<Ticket>) -> Self {
        ticket.abandon();
        Self { send: None, of, ticket: Some(ticket) }
    }

    /// The result.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Completion> {
        loop {
            let Some(send) = &mut self.send else {
                let ticket = self.ticket.as_ref().expect("only a lent send is refused");
                self.send = Some(ready!(ticket.poll_again(cx)));
                self.ticket = None;
                continue;
            };
            let done = ready!(Pin::new(send).poll(cx));
            self.send = None;
            if self.ticket.is_none() || !is_refusal(&done) {
                return Poll::Ready(done);
            }
        }
    }
}
