//! Cancels: they win, lose or tie, and the target's own last completion is the one that counts.

use std::time::Duration;

use coronet_ring::{Request, Token};

use super::events::Event;
use super::ops::{OpId, Phase, RingId};
use super::state::Kernel;

impl Kernel {
    /// Asks for an early end; the result of the cancel itself.
    ///
    /// | the target is | the cancel says | the target ends with |
    /// |---|---|---|
    /// | not known | `-ENOENT` | - |
    /// | done, its completion on the way | `-ENOENT` or `-EALREADY` | its own result |
    /// | a zero-copy send that has its result | `-ENOENT` | its notification |
    /// | in the hands of a worker | `-EALREADY` | its own result |
    /// | waiting | 0, or `-EALREADY` if it is about to run | `-ECANCELED`, what it moved so far, or its own result |
    pub(crate) fn cancel(&mut self, ring: RingId, target: Token) -> i32 {
        let known = self.work.rings.get(&ring).and_then(|ring| ring.by_token.get(&target)).copied();
        let Some(id) = known else { return -libc::ENOENT };
        let Some(op) = self.work.ops.get_mut(&id) else { return -libc::ENOENT };
        match op.phase {
            // Only its memory is not back: nothing is left to end.
            Phase::Lent => -libc::ENOENT,
            Phase::Done if self.tape.below(2) == 0 => -libc::ENOENT,
            Phase::Done | Phase::Running => -libc::EALREADY,
            Phase::Queued | Phase::Armed => {
                if std::mem::replace(&mut op.cancelled, true) {
                    // The first one comes late, and a second one does not come earlier.
                    return -libc::EALREADY;
                }
                if op.due.is_none() && self.tape.chance(self.faults.lost_cancels) {
                    // It was about to run: it gets its chance, and then it ends.
                    let grace = Duration::from_micros(1 + self.tape.below(500));
                    self.note(format_args!("cancel of {target:?} comes late"));
                    self.schedule(grace, Event::CancelEnds(id));
                    return if self.tape.below(2) == 0 { 0 } else { -libc::EALREADY };
                }
                self.end_cancelled(id);
                0
            }
        }
    }

    /// Ends a cancelled operation that is not over yet. What it moved so far is its result.
    pub(crate) fn end_cancelled(&mut self, id: OpId) {
        let Some(op) = self.work.ops.remove(&id) else { return };
        if matches!(op.phase, Phase::Done | Phase::Lent | Phase::Running) {
            self.work.ops.insert(id, op);
            return;
        }
        let moved = match &op.request {
            Request::Recv { .. }
            | Request::Send { .. }
            | Request::SendZc { .. }
            | Request::SendMessage { .. } => op.progress,
            Request::Nop
            | Request::Accept { .. }
            | Request::AcceptMulti { .. }
            | Request::Connect { .. }
            | Request::RecvMulti { .. }
            | Request::Close { .. }
            | Request::Timeout { .. }
            | Request::Poll { .. }
            | Request::PollMulti { .. }
            | Request::Cancel { .. }
            | Request::MsgRing { .. }
            | Request::Read { .. }
            | Request::Write { .. } => 0,
        };
        let result = if moved > 0 { moved as i32 } else { -libc::ECANCELED };
        if matches!(op.request, Request::SendZc { .. }) {
            return self.lend_on(id, op, result);
        }
        self.finish(id, op, result, 0, None);
    }
}
