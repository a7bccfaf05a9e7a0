//! What each request does when its turn comes: the effect, apart from its completion.
//!
//! One arm per request, and no other.

use std::os::fd::BorrowedFd;

use coronet_ring::Request;

use super::ops::{Op, OpId, Phase};
use super::state::{Kernel, Outcome};

/// The descriptor that a request names, if it names one.
pub(crate) fn target<'a>(request: &Request<'a>) -> Option<BorrowedFd<'a>> {
    match request {
        Request::Accept { listener } | Request::AcceptMulti { listener } => Some(*listener),
        Request::Connect { socket, .. }
        | Request::Recv { socket, .. }
        | Request::RecvMulti { socket, .. } => Some(*socket),
        Request::Send { socket, .. }
        | Request::SendZc { socket, .. }
        | Request::SendMessage { socket, .. } => Some(socket.fd()),
        Request::Poll { fd, .. } | Request::PollMulti { fd, .. } => Some(*fd),
        Request::MsgRing { ring, .. } => Some(*ring),
        Request::Read { file, .. } | Request::Write { file, .. } => Some(*file),
        Request::Nop | Request::Close { .. } | Request::Timeout { .. } | Request::Cancel { .. } => None,
    }
}

/// A word for the trace.
pub(crate) fn name(request: &Request<'_>) -> &'static str {
    match request {
        Request::Nop => "nop",
        Request::Accept { .. } => "accept",
        Request::AcceptMulti { .. } => "accept multi",
        Request::Connect { .. } => "connect",
        Request::Recv { .. } => "recv",
        Request::RecvMulti { .. } => "recv multi",
        Request::Send { .. } => "send",
        Request::SendZc { .. } => "send zero-copy",
        Request::SendMessage { .. } => "send message",
        Request::Close { .. } => "close",
        Request::Timeout { .. } => "timeout",
        Request::Poll { .. } => "poll",
        Request::PollMulti { .. } => "poll multi",
        Request::Cancel { .. } => "cancel",
        Request::MsgRing { .. } => "message to a ring",
        Request::Read { .. } => "read",
        Request::Write { .. } => "write",
    }
}

impl Kernel {
    /// Lets an operation do what it can.
    pub(crate) fn attempt(&mut self, id: OpId) {
        let Some(mut op) = self.work.ops.remove(&id) else { return };
        op.scheduled = false;
        if matches!(op.phase, Phase::Done | Phase::Lent | Phase::Queued) {
            self.work.ops.insert(id, op);
            return;
        }
        match self.perform(id, &mut op) {
            Outcome::Wait => {
                self.work.ops.insert(id, op);
            }
            Outcome::Again => {
                self.work.ops.insert(id, op);
                self.wake_op(id);
            }
            Outcome::Lent(result) => self.lend_on(id, op, result),
            Outcome::Done(result, flags, fd) => self.finish(id, op, result, flags, fd),
        }
    }

    fn perform(&mut self, id: OpId, op: &mut Op) -> Outcome {
        let may_fail = op.progress == 0
            && !matches!(
                op.request,
                Request::Close { .. } | Request::Timeout { .. } | Request::Cancel { .. }
            );
        if may_fail && self.tape.chance(self.faults.no_memory) {
            return Outcome::failed(libc::ENOMEM);
        }
        match &op.request {
            Request::Nop => Outcome::result(0),
            Request::Accept { .. } => self.accept(op, false),
            Request::AcceptMulti { .. } => self.accept(op, true),
            Request::Connect { .. } => self.connect(op),
            Request::Recv { into, flags, .. } => {
                let (len, flags) = (into.len() as usize, *flags);
                self.recv(op, len, flags)
            }
            Request::RecvMulti { .. } => self.recv_multi(op),
            Request::Send { from, flags, .. } => {
                let (len, flags) = (from.len() as usize, *flags);
                self.send(op, len, flags)
            }
            Request::SendZc { from, flags, .. } => {
                let (len, flags) = (from.len() as usize, *flags);
                self.send_zero_copy(op, len, flags)
            }
            Request::SendMessage { message, flags, .. } => {
                let (len, flags) = (message.len(), *flags);
                self.send(op, len, flags)
            }
            Request::Close { .. } => {
                drop(op.closes.take());
                self.sweep();
                Outcome::result(0)
            }
            Request::Timeout { .. } => Outcome::failed(libc::ETIME),
            Request::Poll { events, .. } => {
                let events = *events;
                self.poll(op, events, false)
            }
            Request::PollMulti { events, .. } => {
                let events = *events;
                self.poll(op, events, true)
            }
            Request::Cancel { target } => {
                let (ring, target) = (op.ring, *target);
                Outcome::result(self.cancel(ring, target))
            }
            Request::MsgRing { .. } => self.poke(op),
            Request::Read { .. } | Request::Write { .. } => self.transfer(id, op),
        }
    }
}
