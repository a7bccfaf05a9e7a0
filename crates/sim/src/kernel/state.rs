//! The kernel as a whole: its tables, and the few verbs that everything above uses.

use std::fmt;
use std::os::fd::OwnedFd;
use std::time::Duration;

use coronet_exec::VirtualClock;
use coronet_ring::{Completion, Token};

use super::events::{Event, Events};
use super::network::Network;
use super::objects::{HostId, ObjectId, Objects};
use super::ops::{Op, OpId, Phase, Posted, RingId, Work};
use crate::faults::{Faults, Settings};
use crate::tape::Tape;
use crate::trace::Trace;

/// All of the simulated world below the system calls.
pub(crate) struct Kernel {
    pub(crate) clock: VirtualClock,
    pub(crate) tape: Tape,
    pub(crate) trace: Trace,
    pub(crate) settings: Settings,
    /// The faults of this run.
    pub(crate) faults: Faults,
    pub(crate) events: Events,
    pub(crate) work: Work,
    pub(crate) objects: Objects,
    pub(crate) network: Network,
    /// Completions were handed over, or a host ended, since the last sweep: both close descriptors.
    pub(crate) may_have_closed: bool,
    /// The next enter need not sweep.
    pub(crate) is_swept: bool,
}

/// What an attempt came to.
pub(crate) enum Outcome {
    /// Nothing to be had yet.
    Wait,
    /// Something was done, and there may be more.
    Again,
    /// The result of a zero-copy send, whose memory stays lent.
    Lent(i32),
    /// The last result, its flags, and the descriptor that it names.
    Done(i32, u32, Option<OwnedFd>),
}

impl Outcome {
    pub(crate) fn result(result: i32) -> Self {
        Self::Done(result, 0, None)
    }

    pub(crate) fn failed(errno: i32) -> Self {
        Self::result(-errno)
    }
}

impl Kernel {
    pub(crate) fn new(settings: Settings, mut tape: Tape, prints: bool) -> Self {
        let faults = settings.faults.vary(&mut tape);
        Self {
            clock: VirtualClock::new(),
            tape,
            trace: Trace::new(prints),
            settings,
            faults,
            events: Events::default(),
            work: Work::default(),
            objects: Objects::default(),
            network: Network::default(),
            may_have_closed: false,
            is_swept: false,
        }
    }

    /// Time since the clock's zero.
    pub(crate) fn now(&self) -> Duration {
        Duration::from_nanos(self.clock.now().as_nanos())
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        self.trace.note(self.now(), what);
    }

    pub(crate) fn schedule(&mut self, after: Duration, event: Event) {
        // Which of two things of the same moment comes first is a choice.
        let tie = if self.faults.late_completions > 0 { self.tape.below(3) } else { 0 };
        self.events.add(self.now() + after, tie, event);
    }

    /// Mostly at once; sometimes a little later.
    pub(crate) fn soon(&mut self, parts: u16) -> Duration {
        if self.tape.chance(parts) { Duration::from_micros(1 + self.tape.below(200)) } else { Duration::ZERO }
    }

    /// A count of at least one and at most `max`.
    pub(crate) fn count(&mut self, max: usize) -> usize {
        if max > 1 && self.tape.chance(self.faults.short_counts) { self.tape.short(max) } else { max }
    }

    pub(crate) fn latency(&mut self, from: HostId, to: HostId) -> Duration {
        let (least, most) = if from == to {
            (Duration::from_micros(1), Duration::from_micros(20))
        } else {
            self.settings.latency
        };
        least + Duration::from_nanos(self.tape.below((most.saturating_sub(least)).as_nanos() as u64 + 1))
    }

    /// Has an operation look again.
    pub(crate) fn wake_op(&mut self, id: OpId) {
        let delay = self.soon(self.faults.delays);
        let Some(op) = self.work.ops.get_mut(&id) else { return };
        if op.phase == Phase::Armed && !op.scheduled && op.due.is_none() {
            op.scheduled = true;
            self.schedule(delay, Event::Attempt(id));
        }
    }

    /// Something changed about an object: whoever waits for it looks again.
    pub(crate) fn wake(&mut self, object: ObjectId) {
        let Some(object) = self.objects.get(object) else { return };
        for id in object.ops.clone() {
            self.wake_op(id);
        }
    }

    /// Posts one completion.
    pub(crate) fn post(
        &mut self,
        ring: RingId,
        token: Token,
        last: Option<OpId>,
        completion: Completion,
        fd: Option<OwnedFd>,
    ) {
        let Completion { result, flags, .. } = completion;
        // The buffer's number is the choice of the program's own order of returns: part of the run.
        self.note(format_args!("ring {} completes {token:?}: {result} flags {flags:#x}", ring.0));
        if let Some(ring) = self.work.rings.get_mut(&ring) {
            ring.posted.push_back(Posted { op: last, token, completion, fd });
        }
    }

    /// Ends an operation that was taken out of the table. From here on its memory is not touched.
    pub(crate) fn finish(&mut self, id: OpId, mut op: Op, result: i32, flags: u32, fd: Option<OwnedFd>) {
        assert!(op.phase != Phase::Done, "an operation ends twice");
        op.phase = Phase::Done;
        if let Some(object) = op.target.take() {
            self.let_go(object, id);
        }
        if self.work.rings.get(&op.ring).is_none_or(|ring| ring.is_gone) {
            return;
        }
        op.done = (result, flags);
        let late = self.soon(self.faults.late_completions);
        if op.request.is_multishot() || late.is_zero() || fd.is_some() {
            let (ring, token) = (op.ring, op.token);
            self.work.ops.insert(id, op);
            self.post(ring, token, Some(id), Completion::new(result, flags), fd);
        } else {
            self.work.ops.insert(id, op);
            self.schedule(late, Event::Post(id));
        }
    }

    /// An operation refers to an object no more.
    pub(crate) fn let_go(&mut self, object: ObjectId, id: OpId) {
        if let Some(target) = self.objects.get_mut(object) {
            target.ops.retain(|op| *op != id);
        }
        self.release_if_unused(object);
    }
}
