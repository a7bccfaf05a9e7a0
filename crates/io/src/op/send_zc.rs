//! Sending on a socket with the bytes lent to the network, until a notification.
//!
//! A kernel that cannot lend refuses, and nothing is sent: who waits sends again by copying. If nobody does, because
//! the future was dropped, the operation itself sees to it once its memory is back.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use coronet_ring::{Completion, DetachedOp, Done, Handle, OnDrop, Op, Request, SharedFd, Span};

use crate::buf::IoBuf;
use crate::op::Send;

/// What the kernel did with the bytes of zero-copy sends; of several, the last in this list counts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Usage {
    /// It has not said, or cannot say.
    #[default]
    Unknown,
    /// The network read them in place.
    Lent,
    /// It copied them.
    Copied,
    /// It would not lend them.
    Refused,
}

/// True if the kernel sent nothing because it cannot lend: no memory may be locked (`ENOMEM`, `ENOBUFS`), or the
/// socket cannot do it.
pub(crate) fn is_refusal(done: &Completion) -> bool {
    [-libc::ENOMEM, -libc::ENOBUFS, -libc::EOPNOTSUPP].contains(&done.result)
}

/// What a send shares with those who wait for it, or do not any more.
pub(crate) struct Ticket {
    handle: Handle,
    usage: Rc<Cell<Usage>>,
    abandoned: Cell<bool>,
    again: Cell<Option<DetachedOp>>,
    waker: Cell<Option<Waker>>,
}

impl Ticket {
    pub(crate) fn new(handle: Handle, usage: Rc<Cell<Usage>>) -> Rc<Self> {
        let (again, waker) = (Cell::new(None), Cell::new(None));
        Rc::new(Self { handle, usage, abandoned: Cell::new(false), again, waker })
    }

    /// Nobody waits for the send: if the kernel refuses it, it goes again by itself.
    pub(crate) fn abandon(&self) {
        self.abandoned.set(true);
    }

    /// The copying send in place of an abandoned one that was refused.
    pub(crate) fn poll_again(&self, cx: &mut Context<'_>) -> Poll<DetachedOp> {
        if let Some(again) = self.again.take() {
            return Poll::Ready(again);
        }
        self.waker.set(Some(cx.waker().clone()));
        Poll::Pending
    }

    /// Remembers what the kernel did.
    pub(crate) fn learn(&self, usage: Usage) {
        self.usage.set(self.usage.get().max(usage));
    }
}

/// Lends the bytes of a buffer to the network.
pub(crate) struct SendZc<B> {
    /// Until the kernel needs it no more, so that it may close before the notification.
    socket: Cell<Option<SharedFd>>,
    buf: B,
    start: usize,
    /// The kernel is asked to say whether it copied.
    report: bool,
    ticket: Rc<Ticket>,
}

/// What became of a [`SendZc`], once its memory is back.
pub(crate) struct SentZc<B> {
    pub(crate) result: io::Result<usize>,
    /// Gone on if the send was abandoned, and only then.
    pub(crate) buf: Option<B>,
}

impl<B: IoBuf> SendZc<B> {
    /// Leaves out the first `start` bytes.
    pub(crate) fn new(socket: SharedFd, buf: B, start: usize, report: bool, ticket: Rc<Ticket>) -> Self {
        Self { socket: Cell::new(Some(socket)), buf, start, report, ticket }
    }
}

impl<B: IoBuf> Op for SendZc<B> {
    type Output = SentZc<B>;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        let socket = self.socket.get_mut().as_ref().expect("kept until the result").target();
        let from = Span::new(&self.buf.as_bytes()[self.start..]);
        Request::SendZc { socket, from, flags: libc::MSG_WAITALL, report: self.report }
    }

    fn give_up_descriptor(&self) -> Option<SharedFd> {
        self.socket.take()
    }

    fn finish(self, done: Done<Self>) -> SentZc<B> {
        let result = done.value().map(|count| count as usize);
        if is_refusal(&done) {
            self.ticket.learn(Usage::Refused);
            if self.ticket.abandoned.get()
                && let Some(socket) = self.socket.take()
            {
                let send = Send::new(socket, self.buf, libc::MSG_WAITALL).starting_at(self.start);
                self.ticket.again.set(Some(self.ticket.handle.submit(send).detach()));
                if let Some(waker) = self.ticket.waker.take() {
                    waker.wake();
                }
                return SentZc { result, buf: None };
            }
        } else if self.report && done.is_notification() && result.is_ok() {
            self.ticket.learn(if done.was_copied() { Usage::Copied } else { Usage::Lent });
        }
        SentZc { result, buf: Some(self.buf) }
    }
}
