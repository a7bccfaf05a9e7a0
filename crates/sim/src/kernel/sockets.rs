//! What operations on sockets do when their turn comes.

use std::os::fd::OwnedFd;

use coronet_ring::{Completion, Request};

use super::bytes;
use super::endpoint::{Endpoint, Phase as TcpPhase, Readable, Writable};
use super::groups::Picked;
use super::memory;
use super::objects::{Kind, ObjectId};
use super::ops::{BUFFER, BUFFER_MORE, MORE, Op, SOCK_NONEMPTY};
use super::state::{Kernel, Outcome};

impl Kernel {
    fn socket(&mut self, op: &Op) -> Result<(ObjectId, &mut Endpoint), Outcome> {
        let id = op.target.expect("bound when it was consumed");
        match self.objects.get_mut(id).map(|object| &mut object.kind) {
            Some(Kind::Socket(endpoint)) => Ok((id, endpoint)),
            Some(Kind::File(_) | Kind::Pipe(_) | Kind::Ring(_)) => Err(Outcome::failed(libc::ENOTSOCK)),
            None => Err(Outcome::failed(libc::EBADF)),
        }
    }

    pub(crate) fn accept(&mut self, op: &mut Op, multi: bool) -> Outcome {
        let refuse = self.tape.chance(self.faults.no_descriptors);
        let abort = self.tape.chance(self.faults.aborted_connections);
        let (listener, endpoint) = match self.socket(op) {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        let TcpPhase::Listening { queue, .. } = &mut endpoint.phase else {
            return Outcome::failed(libc::EINVAL);
        };
        if queue.is_empty() {
            return Outcome::Wait;
        }
        if refuse {
            // The number is reserved first, so the client stays in the backlog.
            return Outcome::failed(libc::EMFILE);
        }
        let Some(child) = queue.pop_front() else { return Outcome::Wait };
        if abort {
            self.abort(child);
            self.objects.remove(child);
            return Outcome::failed(libc::ECONNABORTED);
        }
        match self.objects.open(child) {
            Ok(fd) => {
                self.note(format_args!("listener {} gives connection {}", listener.0, child.0));
                self.item(op, multi, 0, 0, Some(fd))
            }
            Err(error) => {
                if let Some(TcpPhase::Listening { queue, .. }) =
                    self.objects.endpoint_mut(listener).map(|endpoint| &mut endpoint.phase)
                {
                    queue.push_front(child);
                }
                Outcome::failed(error.raw_os_error().unwrap_or(libc::EMFILE))
            }
        }
    }

    /// One result: the only one, one of many, or the last of many.
    fn item(&mut self, op: &Op, multi: bool, result: i32, flags: u32, fd: Option<OwnedFd>) -> Outcome {
        // A full completion queue ends a multishot with what it brings.
        if !multi || self.tape.chance(self.faults.multishot_ends) {
            return Outcome::Done(result, flags, fd);
        }
        self.post(op.ring, op.token, None, Completion::new(result, flags | MORE), fd);
        Outcome::Again
    }

    pub(crate) fn connect(&mut self, op: &mut Op) -> Outcome {
        let (id, endpoint) = match self.socket(op) {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        if let Some(errno) = endpoint.error.take() {
            return Outcome::failed(errno);
        }
        match endpoint.phase {
            TcpPhase::Connected if op.progress > 0 => Outcome::result(0),
            TcpPhase::Connected | TcpPhase::Handshake { .. } => Outcome::failed(libc::EISCONN),
            TcpPhase::Connecting { .. } if op.progress > 0 => Outcome::Wait,
            TcpPhase::Connecting { .. } => Outcome::failed(libc::EALREADY),
            TcpPhase::Dead => Outcome::failed(libc::ECONNABORTED),
            TcpPhase::Listening { .. } => Outcome::failed(libc::EISCONN),
            TcpPhase::Fresh => {
                let Request::Connect { address, .. } = &op.request else {
                    unreachable!("checked by the caller")
                };
                let Some(remote) = super::address::parse(&memory::read(address, 0, usize::MAX)) else {
                    return Outcome::failed(libc::EAFNOSUPPORT);
                };
                op.progress = 1;
                self.start_connect(id, remote);
                Outcome::Wait
            }
        }
    }

    pub(crate) fn recv(&mut self, op: &mut Op, len: usize, flags: i32) -> Outcome {
        let (id, endpoint) = match self.socket(op) {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        let readable = endpoint.readable();
        let waits_for_all = flags & libc::MSG_WAITALL != 0;
        let peeks = flags & libc::MSG_PEEK != 0;
        match readable {
            // Waits for bytes all the same, and takes none.
            Readable::Bytes(_) if len == 0 => Outcome::result(0),
            Readable::Bytes(ready) => {
                let most = ready.min(len - op.progress);
                let count = self.count(most);
                let Some(endpoint) = self.objects.endpoint_mut(id) else {
                    return Outcome::failed(libc::EBADF);
                };
                let bytes = bytes::first(&endpoint.inbox, count);
                if !peeks {
                    endpoint.inbox.drain(..count);
                }
                let rest = if endpoint.inbox.is_empty() { 0 } else { SOCK_NONEMPTY };
                let Request::Recv { into, .. } = &op.request else { unreachable!("checked by the caller") };
                memory::write(into, op.progress, &bytes);
                op.progress += count;
                self.opened_window(id);
                if waits_for_all && !peeks && op.progress < len {
                    return Outcome::Again;
                }
                Outcome::Done(op.progress as i32, rest, None)
            }
            Readable::End => Outcome::result(op.progress as i32),
            Readable::Error(errno) => {
                // The bytes are the answer, and the error is used up all the same.
                let failed = endpoint.report(errno);
                Outcome::result(if op.progress > 0 { op.progress as i32 } else { failed })
            }
            Readable::NotYet if flags & libc::MSG_DONTWAIT != 0 && op.progress == 0 => {
                Outcome::failed(libc::EAGAIN)
            }
            Readable::NotYet => Outcome::Wait,
        }
    }

    /// The program took bytes, so the peer may send more.
    fn opened_window(&mut self, id: ObjectId) {
        if let Some(peer) = self.objects.endpoint(id).and_then(|endpoint| endpoint.peer) {
            self.pump(peer);
        }
    }

    pub(crate) fn recv_multi(&mut self, op: &mut Op) -> Outcome {
        let Request::RecvMulti { group, bundle, .. } = op.request else {
            unreachable!("checked by the caller")
        };
        let no_buffer = self.tape.chance(self.faults.no_buffers);
        // Kernels differ in whether a buffer comes along with an end or an error.
        let comes_along = self.faults.no_buffers > 0 && self.tape.below(4) == 1;
        let (id, endpoint) = match self.socket(op) {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        let (result, ready) = match endpoint.readable() {
            Readable::Bytes(ready) => (0, ready),
            Readable::End => (0, 0),
            Readable::Error(errno) => (endpoint.report(errno), 0),
            Readable::NotYet => return Outcome::Wait,
        };
        let ring = self.work.rings.get_mut(&op.ring).expect("an operation has a ring");
        let Some(buffers) = ring.groups.get_mut(&group) else { return Outcome::failed(libc::ENOBUFS) };
        if ready == 0 {
            let picked = if comes_along { buffers.take_empty() } else { None };
            return Outcome::Done(result, picked.map_or(0, flags_of), None);
        }
        let room = buffers.room(bundle).filter(|_| !no_buffer);
        let Some(room) = room else { return Outcome::failed(libc::ENOBUFS) };
        let count = self.count(ready.min(room));
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return Outcome::failed(libc::EBADF) };
        let bytes = bytes::take(&mut endpoint.inbox, count);
        let rest = if endpoint.inbox.is_empty() { 0 } else { SOCK_NONEMPTY };
        let ring = self.work.rings.get_mut(&op.ring).expect("an operation has a ring");
        let picked = ring.groups.get_mut(&group).expect("looked up above").fill(&bytes);
        self.opened_window(id);
        self.item(op, true, count as i32, flags_of(picked) | rest, None)
    }

    pub(crate) fn send(&mut self, op: &mut Op, len: usize, flags: i32) -> Outcome {
        let (id, endpoint) = match self.socket(op) {
            Ok(found) => found,
            Err(outcome) => return outcome,
        };
        match endpoint.writable() {
            Writable::Room(room) => {
                if len == 0 {
                    return Outcome::result(0);
                }
                let count = self.count(room.min(len - op.progress));
                let bytes = match &op.request {
                    Request::SendMessage { message, .. } => memory::read_message(message, op.progress, count),
                    Request::Send { from, .. } | Request::SendZc { from, .. } => {
                        memory::read(from, op.progress, count)
                    }
                    _ => unreachable!("checked by the caller"),
                };
                let Some(endpoint) = self.objects.endpoint_mut(id) else {
                    return Outcome::failed(libc::EBADF);
                };
                endpoint.outbox.extend(&bytes);
                op.progress += count;
                self.pump(id);
                if flags & libc::MSG_WAITALL != 0 && op.progress < len {
                    return Outcome::Again;
                }
                Outcome::result(op.progress as i32)
            }
            Writable::Error(errno) => {
                let failed = endpoint.report(errno);
                Outcome::result(if op.progress > 0 { op.progress as i32 } else { failed })
            }
            Writable::NotYet if flags & libc::MSG_DONTWAIT != 0 && op.progress == 0 => {
                Outcome::failed(libc::EAGAIN)
            }
            Writable::NotYet => Outcome::Wait,
        }
    }

    pub(crate) fn poll(&mut self, op: &mut Op, events: u32, multi: bool) -> Outcome {
        let id = op.target.expect("bound when it was consumed");
        let Some(object) = self.objects.get(id) else { return Outcome::failed(libc::EBADF) };
        let mask = match &object.kind {
            Kind::Socket(endpoint) => endpoint.poll_mask(),
            Kind::Pipe(end) => end.poll_mask(),
            Kind::File(_) => libc::POLLIN | libc::POLLOUT | libc::POLLRDNORM | libc::POLLWRNORM,
            Kind::Ring(_) => 0,
        };
        let always = (libc::POLLERR | libc::POLLHUP) as u32;
        let ready = u32::from(mask as u16) & (events | always);
        if ready == 0 {
            return Outcome::Wait;
        }
        if !multi {
            return Outcome::result(ready as i32);
        }
        match self.item(op, true, ready as i32, 0, None) {
            // Edges: the next report comes with the next change.
            Outcome::Again => Outcome::Wait,
            done => done,
        }
    }

    pub(crate) fn poke(&mut self, op: &Op) -> Outcome {
        let id = op.target.expect("bound when it was consumed");
        let Some(Kind::Ring(ring)) = self.objects.get(id).map(|object| &object.kind) else {
            return Outcome::failed(libc::EBADFD);
        };
        match self.work.rings.get_mut(ring) {
            Some(ring) if !ring.is_gone => {
                ring.is_poked = true;
                Outcome::result(0)
            }
            _ => Outcome::failed(libc::EOWNERDEAD),
        }
    }
}

fn flags_of(picked: Picked) -> u32 {
    let more = if picked.goes_on { BUFFER_MORE } else { 0 };
    BUFFER | more | (u32::from(picked.buffer) << 16)
}
