//! Entering the kernel: queues are consumed, time passes, completions are collected.

use std::io;
use std::time::Duration;

use coronet_exec::time::Instant;
use coronet_ring::backend::{Batch, Lent, Submitted};
use coronet_ring::{Completion, Request, Token};

use super::events::Event;
use super::ops::{Entry, Op, OpId, Phase, RingId};
use super::perform::{name, target};
use super::state::Kernel;

impl Kernel {
    /// Puts a request into the queue of a ring.
    pub(crate) fn submit(&mut self, ring: RingId, token: Token, lent: Lent) -> Submitted {
        if !self.has_room(ring) {
            return Submitted::Full;
        }
        self.work.submitted += 1;
        let id = OpId(self.work.submitted);
        let mut request = lent.into_request();
        let closes = if let Request::Close { fd } = &mut request { fd.take() } else { None };
        let op = Op {
            ring,
            token,
            request,
            closes,
            target: None,
            phase: Phase::Queued,
            progress: 0,
            due: None,
            scheduled: false,
            cancelled: false,
            lent: Vec::new(),
            done: (0, 0),
        };
        self.work.ops.insert(id, op);
        let queue = self.work.rings.get_mut(&ring).expect("a ring that is open");
        let before = queue.by_token.insert(token, id);
        assert!(before.is_none(), "{token:?} names two operations");
        queue.queue.push_back(Entry::Start(id));
        Submitted::Accepted
    }

    /// Puts a cancel into the queue of a ring.
    pub(crate) fn submit_cancel(&mut self, ring: RingId, token: Token) -> Submitted {
        if !self.has_room(ring) {
            return Submitted::Full;
        }
        let ring = self.work.rings.get_mut(&ring).expect("a ring that is open");
        ring.queue.push_back(Entry::Cancel(token));
        Submitted::Accepted
    }

    fn has_room(&mut self, ring: RingId) -> bool {
        let ring = self.work.rings.get(&ring).expect("a ring that is open");
        let (waiting, capacity) = (ring.queue.len(), ring.capacity);
        // Not when it is empty: there is always room for one.
        waiting < capacity && !(waiting > 0 && self.tape.chance(self.faults.full_queues))
    }

    /// One `io_uring_enter`.
    pub(crate) fn enter(
        &mut self,
        id: RingId,
        timeout: Option<Duration>,
        batch: &mut Batch,
    ) -> io::Result<()> {
        if !std::mem::take(&mut self.is_swept) {
            self.sweep();
        }
        // In a simulation no other thread ends a wait, but a test may.
        let object = self.work.rings[&id].object;
        let was_unparked = self.objects.was_unparked(object);
        let consumed_all = self.consume(id);
        self.run_due();
        let ring = self.work.rings.get_mut(&id).expect("a ring that is open");
        let is_poked = std::mem::take(&mut ring.is_poked);
        // Who submits a part only does not wait, as on Linux.
        let may_wait = consumed_all && !was_unparked && !is_poked && timeout != Some(Duration::ZERO);
        if self.collect(id, batch) > 0 || !may_wait {
            return Ok(());
        }
        if self.tape.chance(self.faults.interrupts) {
            self.note(format_args!("a signal ends the wait of ring {}", id.0));
            return Ok(());
        }
        let deadline = timeout.map(|timeout| self.now().saturating_add(timeout));
        loop {
            let next = self.events.next_at().filter(|next| deadline.is_none_or(|deadline| *next <= deadline));
            let Some(next) = next.or(deadline) else {
                let text =
                    "the simulated kernel has nothing left to do, and the program waits for it for ever";
                return Err(io::Error::new(io::ErrorKind::Deadlock, text));
            };
            self.advance_to(next);
            self.run_due();
            let ring = self.work.rings.get_mut(&id).expect("a ring that is open");
            let is_poked = std::mem::take(&mut ring.is_poked);
            if self.collect(id, batch) > 0
                || is_poked
                || deadline.is_some_and(|deadline| self.now() >= deadline)
            {
                return Ok(());
            }
        }
    }

    pub(crate) fn advance_to(&mut self, at: Duration) {
        let ns = u64::try_from(at.as_nanos()).unwrap_or(u64::MAX);
        self.clock.advance_to(Instant::from_nanos(ns));
    }

    /// Takes entries out of a queue, in order: all of them (then it says so), or some.
    fn consume(&mut self, id: RingId) -> bool {
        let ring = self.work.rings.get_mut(&id).expect("a ring that is open");
        ring.enters += 1;
        let waiting = ring.queue.len();
        let partly = waiting > 0 && self.tape.chance(self.faults.partial_submits);
        let count = if partly { self.tape.below(waiting as u64) as usize } else { waiting };
        for _ in 0..count {
            let ring = self.work.rings.get_mut(&id).expect("a ring that is open");
            match ring.queue.pop_front() {
                Some(Entry::Start(op)) => self.start(op),
                Some(Entry::Cancel(token)) => {
                    let result = self.cancel(id, token);
                    self.note(format_args!("ring {} cancels {token:?}: {result}", id.0));
                }
                None => break,
            }
        }
        count == waiting
    }

    /// The kernel looks at an entry for the first time.
    fn start(&mut self, id: OpId) {
        let Some(op) = self.work.ops.get(&id) else { return };
        let (word, token, ring) = (name(&op.request), op.token, op.ring);
        let object = target(&op.request).map(|fd| self.objects.find(fd));
        let after = if let Request::Timeout { after } = &op.request { Some(after.duration()) } else { None };
        let number = object.flatten().map_or(0, |object| object.0);
        self.note(format_args!("ring {} starts {token:?}: {word} on {number}", ring.0));
        let due = after.map(|after| self.now().saturating_add(after));
        let op = self.work.ops.get_mut(&id).expect("looked up above");
        op.phase = Phase::Armed;
        op.due = due;
        match object {
            Some(None) => {
                let op = self.work.ops.remove(&id).expect("looked up above");
                return self.finish(id, op, -libc::EBADF, 0, None);
            }
            Some(Some(object)) => {
                op.target = Some(object);
                if let Some(object) = self.objects.get_mut(object) {
                    object.ops.push(id);
                }
            }
            None => {}
        }
        if let Some(after) = after {
            self.schedule(after, Event::Attempt(id));
        } else {
            self.wake_op(id);
        }
    }

    /// Everything that is due.
    pub(crate) fn run_due(&mut self) {
        while let Some(event) = self.events.pop_due(self.now()) {
            match event {
                Event::Attempt(op) => self.attempt(op),
                Event::Post(op) => self.post_late(op),
                Event::Notify(op) => self.notify(op),
                Event::CancelEnds(op) => self.end_cancelled(op),
                Event::Syn(client) => self.syn(client),
                Event::SynAck(client) => self.syn_ack(client),
                Event::Refused(client, errno) => self.refused(client, errno),
                Event::Wire(sender) => self.deliver(sender),
                Event::Reset(socket) => self.reset(socket),
                Event::UserTimeout(socket) => self.user_timeout(socket),
            }
        }
    }

    fn post_late(&mut self, id: OpId) {
        let Some(op) = self.work.ops.get(&id) else { return };
        let (ring, token, (result, flags)) = (op.ring, op.token, op.done);
        self.post(ring, token, Some(id), Completion::new(result, flags), None);
    }

    /// Hands completions over, in the order in which they were posted: all of them, or the first.
    fn collect(&mut self, id: RingId, batch: &mut Batch) -> usize {
        let ring = self.work.rings.get_mut(&id).expect("a ring that is open");
        let ready = ring.posted.len();
        if ready == 0 {
            return 0;
        }
        self.may_have_closed = true;
        let partly = self.tape.chance(self.faults.late_completions);
        let count = if partly { self.tape.short(ready) } else { ready };
        for posted in ring.posted.drain(..count) {
            if let Some(op) = posted.op {
                self.work.ops.remove(&op);
                ring.by_token.remove(&posted.token);
            }
            if let Some(fd) = posted.fd {
                // From here on it is the program's.
                let number = std::os::fd::IntoRawFd::into_raw_fd(fd);
                batch.push((posted.token, Completion::new(number, posted.completion.flags)));
            } else {
                batch.push((posted.token, posted.completion));
            }
        }
        count
    }

    pub(crate) fn has_pending(&self, id: RingId) -> bool {
        let ring = &self.work.rings[&id];
        let now = self.now();
        !ring.queue.is_empty() || !ring.posted.is_empty() || self.events.next_at().is_some_and(|at| at <= now)
    }
}
