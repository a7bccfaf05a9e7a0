//! The end of objects: when neither a descriptor nor an operation refers to them.

use super::endpoint::Phase;
use super::objects::{Kind, ObjectId};
use super::state::Kernel;

impl Kernel {
    /// Looks for descriptors that were closed, by whatever way. Whether there were any.
    pub(crate) fn sweep(&mut self) -> bool {
        self.may_have_closed = false;
        let closed = self.objects.sweep();
        for id in &closed {
            self.note(format_args!("descriptor of object {} is closed", id.0));
            self.release_if_unused(*id);
        }
        !closed.is_empty()
    }

    /// No task has run on the host that enters next since its last enter. Nothing of it can be closed then,
    /// unless a completion was given to somebody who was gone; and looking is a system call.
    pub(crate) fn program_stood_still(&mut self) {
        self.is_swept = !self.may_have_closed;
    }

    /// As [`Self::sweep`], where only completions may have closed something since the last one.
    pub(crate) fn sweep_after_completions(&mut self) -> bool {
        self.may_have_closed && self.sweep()
    }

    /// Ends an object to which nothing refers.
    pub(crate) fn release_if_unused(&mut self, id: ObjectId) {
        let Some(object) = self.objects.get_mut(id) else { return };
        if object.is_open || !object.ops.is_empty() {
            return;
        }
        match &mut object.kind {
            Kind::Socket(_) => self.release_socket(id),
            Kind::Pipe(end) => {
                end.close();
                let other = end.other;
                self.objects.remove(id);
                if let Some(other) = other {
                    self.wake(other);
                }
            }
            Kind::File(_) | Kind::Ring(_) => {
                self.objects.remove(id);
            }
        }
    }

    /// As `tcp_close`: unread bytes make it a reset; otherwise what was written still goes out.
    fn release_socket(&mut self, id: ObjectId) {
        if self.is_waiting(id) {
            return;
        }
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        match &mut endpoint.phase {
            Phase::Fresh | Phase::Dead => {
                self.objects.remove(id);
            }
            Phase::Listening { queue, .. } => {
                let waiting: Vec<_> = queue.drain(..).collect();
                self.objects.remove(id);
                for child in waiting {
                    self.abort(child);
                    self.objects.remove(child);
                }
            }
            Phase::Connecting { .. } => {
                let child = endpoint.peer;
                self.objects.remove(id);
                self.drop_handshake(child);
            }
            Phase::Handshake { .. } => {}
            Phase::Connected => self.close_connection(id),
        }
    }

    /// Whether a connection waits to be accepted, reset or not: then its listener holds it.
    fn is_waiting(&self, child: ObjectId) -> bool {
        if !self.objects.endpoint(child).is_some_and(|endpoint| endpoint.is_child && !endpoint.is_closed) {
            return false;
        }
        let holds = |phase: &Phase| matches!(phase, Phase::Listening { queue, .. } if queue.contains(&child));
        self.objects.sockets().any(|(_, endpoint)| holds(&endpoint.phase))
    }

    fn close_connection(&mut self, id: ObjectId) {
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        if !endpoint.is_closed {
            endpoint.is_closed = true;
            if !endpoint.inbox.is_empty() || endpoint.resets_on_close {
                self.note(format_args!(
                    "socket {} is closed with unread bytes, or to be reset: a reset",
                    id.0
                ));
                self.abort(id);
                self.objects.remove(id);
                return;
            }
            endpoint.write_shut = true;
            return self.pump(id);
        }
        // Both ends are told: nothing keeps it.
        if endpoint.fin_sent && endpoint.wire.is_empty() && endpoint.fin_received {
            self.objects.remove(id);
        }
    }
}
