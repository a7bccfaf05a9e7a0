//! Zero-copy sends: the result comes when the bytes were taken, and they stay lent until a notification that comes
//! when it likes, out of order.
//!
//! Until then the network may look at them again, as one does that lost a segment: this kernel looks once more just
//! before the notification, and finds out whether they are still what they were. Bytes that it copied it leaves alone.

use std::time::Duration;

use coronet_ring::{Completion, Request};

use super::events::Event;
use super::memory;
use super::ops::{MORE, NOTIFICATION, Op, OpId, Phase};
use super::state::{Kernel, Outcome};

/// `IORING_NOTIF_USAGE_ZC_COPIED`
const COPIED: i32 = i32::MIN;

impl Kernel {
    /// One attempt of a zero-copy send.
    pub(crate) fn send_zero_copy(&mut self, op: &mut Op, len: usize, flags: i32) -> Outcome {
        if op.progress == 0 && self.tape.chance(self.faults.no_pinning) {
            return Outcome::Lent(-libc::ENOMEM);
        }
        match self.send(op, len, flags) {
            Outcome::Done(result, _, _) => Outcome::Lent(result),
            other => other,
        }
    }

    /// The result of a zero-copy send; the operation goes on lending. One that failed may end at once.
    pub(crate) fn lend_on(&mut self, id: OpId, mut op: Op, result: i32) {
        if result < 0 && (op.phase == Phase::Queued || self.tape.below(2) == 0) {
            return self.finish(id, op, result, 0, None);
        }
        let Request::SendZc { from, report, .. } = &op.request else { unreachable!("checked by the caller") };
        let report = *report;
        op.lent = memory::read(from, 0, usize::try_from(result).unwrap_or(0));
        // As Linux reports it: what was not read in place, also because nothing was sent.
        let copied = result < 0 || self.copies(&op);
        op.done = (if copied && report { COPIED } else { 0 }, NOTIFICATION);
        if copied {
            op.lent.clear();
        }
        op.phase = Phase::Lent;
        if let Some(object) = op.target.take() {
            self.let_go(object, id);
        }
        let (ring, token) = (op.ring, op.token);
        if self.work.rings.get(&ring).is_some_and(|ring| !ring.is_gone) {
            self.post(ring, token, None, Completion::new(result, MORE), None);
        }
        self.work.ops.insert(id, op);
        let late = self.tape.chance(self.faults.late_notifications);
        let late = if late { Duration::from_micros(1 + self.tape.below(200_000)) } else { Duration::ZERO };
        self.schedule(late, Event::Notify(id));
    }

    /// Whether the way to the peer copies: mostly it always does, or never.
    fn copies(&mut self, op: &Op) -> bool {
        let chance = self.faults.copied_sends;
        let Some(endpoint) = op.target.and_then(|id| self.objects.endpoint_mut(id)) else { return false };
        let always = match endpoint.copies {
            Some(always) => always,
            None => {
                let always = self.tape.chance(chance);
                endpoint.copies = Some(always);
                always
            }
        };
        always || self.tape.chance(chance / 16)
    }

    /// The network is done with the memory of a zero-copy send.
    pub(crate) fn notify(&mut self, id: OpId) {
        let Some(op) = self.work.ops.remove(&id) else { return };
        if op.phase != Phase::Lent {
            self.work.ops.insert(id, op);
            return;
        }
        let Request::SendZc { from, .. } = &op.request else { unreachable!("nothing else is lent on") };
        let now = memory::read(from, 0, op.lent.len());
        assert!(
            now == op.lent,
            "{:?}: the bytes of a zero-copy send changed before its notification",
            op.token
        );
        let (result, flags) = op.done;
        self.finish(id, op, result, flags, None);
    }
}
