//! epoll: what io_uring does, with a system call for each operation.
//!
//! It runs where io_uring is refused. An operation is tried when it is submitted; what cannot
//! be done at once waits until the poller says that its descriptor changed, and is tried
//! again. Results are collected and reported by `park`.
//!
//! - `perform.rs` makes one attempt; `waiting.rs` keeps those that are not over.
//! - `interest.rs` knows who waits for which descriptor. Registrations are edge-triggered and
//!   serve operation after operation, so a request costs no `epoll_ctl`.
//! - `offload.rs` has threads that wait for files; `timers.rs` the timeouts.
//!
//! This file decides when to try what, and in which order.

#![allow(unsafe_code, reason = "vouches for what it reports")]

mod perform;
mod attempt;
mod interest;
mod queue;
mod pick;
mod waiting;
mod timers;
mod offload;

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use self::attempt::Attempt;
use self::interest::{Happened, Happenings, Interests, Side};
use self::offload::{Offload, Transfer};
pub(crate) use self::perform::CAPABILITIES;
use self::perform::{ATTEMPTS_MAX, Route, attempt, attempts_max, restore_blocking, route};
use self::pick::Picker;
use self::timers::Timers;
use self::waiting::{Pending, Place, Waiting};
use crate::backend::ahead::Ahead;
use crate::backend::send::{self, send_now};
use crate::backend::{Backend, BackendReport, Batch, Capabilities, Counters, Lent, Submitted, Unparker};
use crate::completion::Completion;
use crate::error;
use crate::pool::{GroupId, GroupMemory};
use crate::request::Request;
use crate::token::Token;

/// Results that there is room for from the start.
const RESULTS_MIN: usize = 256;
/// Events that one turn acts on; the others are next. A turn costs something, and the misses of so many overlap; but
/// the first answers leave before the last of many receives. With 1,000 connections 8 to 64 measured the same.
const EVENTS_PER_TURN: usize = 32;
/// Sends between two parks that end at once; those beyond end with the next park. Who can always send must not
/// hold the core, and a tick of the executor runs 61 tasks.
const SENDS_NOW_MAX: u32 = 128;
/// Turns that may pass without a look at the poller, while operations end at once.
const UNSEEN_MAX: u32 = 8;
/// Questions whether something is pending that may pass without a look.
const UNASKED_MAX: u32 = 4;

/// One poller, and what waits for it.
pub(crate) struct Epoll {
    interests: Interests,
    waiting: Waiting,
    groups: Vec<Option<Picker>>,
    timers: Timers,
    offload: Offload,
    /// Over, and not reported yet.
    done: Batch,
    /// To be tried again without an event.
    again: VecDeque<RawFd>,
    /// What the poller reported and nobody acted on yet.
    happened: Happenings,
    /// Sends that ended at once since the last park.
    sent_now: u32,
    /// Of sends that were tried at once, and are submitted next.
    ahead: Ahead,
    unseen: u32,
    unasked: u32,
    unparker: Unparker,
    report: BackendReport,
}

impl Epoll {
    /// Sets a poller up; `why` says why it is one.
    pub(crate) fn open(why: String, capabilities: Capabilities) -> io::Result<Self> {
        let named = |what| move |failure| error::named(what, "raise RLIMIT_NOFILE (ulimit -n)", failure);
        let unparker = Unparker::new().map_err(named("eventfd"))?;
        let timers = Timers::new().map_err(named("timerfd_create"))?;
        let interests = Interests::new(unparker.as_fd(), timers.as_fd()).map_err(named("epoll_create"))?;
        Ok(Self {
            interests,
            waiting: Waiting::default(),
            groups: Vec::new(),
            timers,
            offload: Offload::new(unparker.clone()),
            done: Batch::with_capacity(RESULTS_MIN),
            again: VecDeque::new(),
            happened: Happenings::default(),
            sent_now: 0,
            ahead: Ahead::default(),
            unseen: 0,
            unasked: 0,
            unparker,
            report: BackendReport { name: "epoll", why, capabilities },
        })
    }

    fn start(&mut self, mut pending: Pending) {
        match route(&pending.request) {
            Route::AtOnce => {
                if let Request::Close { fd: Some(fd) } = &pending.request {
                    self.interests.closes(fd.as_raw_fd());
                }
                let Attempt::Done(result) = attempt(&mut pending, &mut self.groups) else {
                    unreachable!("{:?} waits for nothing", pending.request)
                };
                self.done.push((pending.token, Completion::new(result, 0)));
            }
            Route::Descriptor(fd, side) => self.start_on(pending, fd, side, true),
            Route::Later(fd, side) => self.start_on(pending, fd, side, false),
            Route::Clock(after) => {
                pending.place = Place::Clock(self.timers.start(pending.token, after));
                self.waiting.insert(pending);
            }
            Route::Cancel(target) => {
                let result = self.stop(target);
                self.done.push((pending.token, Completion::new(result, 0)));
            }
        }
    }

    /// Sends what `request` says, if nobody waits to send there and the socket has room: then nobody is woken
    /// for it. Otherwise the bytes that went; the rest is to be submitted.
    #[inline]
    pub(crate) fn send_now(&mut self, request: &Request<'_>) -> Result<Completion, u32> {
        let (Request::Send { socket, .. } | Request::SendMessage { socket, .. }) = request else {
            return Err(0);
        };
        let watch = self.interests.at(socket.as_raw_fd());
        if watch.full || !watch.writes.is_empty() || self.sent_now == SENDS_NOW_MAX {
            return Err(0);
        }
        self.sent_now += 1;
        let mut progress = 0;
        if let Some(send::Attempt::Over(result)) = send_now(request, &mut progress) {
            return Ok(Completion::new(result, 0));
        }
        watch.full = true;
        Err(progress)
    }

    /// So many bytes of a send that is submitted next went before.
    pub(crate) fn went_before(&mut self, token: Token, bytes: u32) {
        self.ahead.note(token, bytes);
    }
    /// Starts what may have to wait for a descriptor; `eager` tries it before the kernel is asked.
    fn start_on(&mut self, mut pending: Pending, fd: RawFd, side: Side, eager: bool) {
        let token = pending.token;
        pending.place = Place::Descriptor(fd, side);
        let watch = self.interests.at(fd);
        let (is_first, may_try) = match side {
            Side::Read => (watch.reads.is_empty(), !watch.drained),
            Side::Write => (watch.writes.is_empty(), !watch.full),
            // The state now is asked of the kernel, and does not depend on edges.
            Side::Poll => (true, true),
        };
        let tries = is_first && may_try && (eager || watch.is_registered());
        if tries && side == Side::Write {
            // Nearly every send ends here, and leaves no trace.
            match attempt(&mut pending, &mut self.groups) {
                Attempt::Done(result) => return self.done.push((token, Completion::new(result, 0))),
                Attempt::Blocks => watch.full = true,
                Attempt::Offload => {}
                Attempt::DoneShort(_) | Attempt::Item(_) | Attempt::ItemShort(_) => {
                    unreachable!("no write has items, or falls short")
                }
            }
        }
        match side {
            Side::Read => watch.reads.push(token),
            Side::Write => watch.writes.push(token),
            Side::Poll => watch.polls.push(token),
        }
        self.waiting.insert(pending);
        if tries {
            match side {
                Side::Read => self.read_on(fd),
                Side::Write => self.write_on(fd),
                Side::Poll => self.poll_on(fd, token),
            }
        }
        // It is not over: the kernel has to say when to go on.
        let waits = |pending: &mut Pending| pending.place == Place::Descriptor(fd, side);
        if is_first
            && self.waiting.get(token).is_some_and(waits)
            && let Err(refused) = self.interests.ask(fd, side)
        {
            self.cannot_wait(token, &refused);
        }
        self.interests.let_go(fd);
    }

    /// The poller does not take the descriptor: files are always ready, as far as it knows.
    fn cannot_wait(&mut self, token: Token, refused: &io::Error) {
        let Some(pending) = self.waiting.get(token) else { return };
        let errno = refused.raw_os_error().unwrap_or(libc::EIO);
        let transfer = Transfer::of(&pending.request);
        // As on the ring: a poll for what never happens to a file waits until it is cancelled.
        let is_poll = matches!(pending.request, Request::Poll { .. } | Request::PollMulti { .. });
        match (errno, transfer) {
            (libc::EPERM, Some(transfer)) => self.offload(token, transfer),
            (libc::EPERM, None) if is_poll => {}
            (errno, _) => self.end(token, -errno),
        }
    }

    fn offload(&mut self, token: Token, transfer: Transfer) {
        self.leave(token);
        if let Some(result) = self.offload.start(token, transfer) {
            self.end(token, result);
        } else if let Some(pending) = self.waiting.get(token) {
            pending.place = Place::Pool;
        }
    }

    /// Takes an operation off the descriptor that it waits for.
    fn leave(&mut self, token: Token) {
        let Some(pending) = self.waiting.get(token) else { return };
        let Place::Descriptor(fd, side) = pending.place else { return };
        pending.place = Place::Nowhere;
        let watch = self.interests.at(fd);
        match side {
            Side::Read => watch.reads.remove(token),
            Side::Write => watch.writes.remove(token),
            Side::Poll => watch.polls.remove(token),
        }
        self.pass_on_mode(token, fd);
        self.interests.let_go(fd);
    }

    /// The last accept of a listener puts it back into blocking mode.
    fn pass_on_mode(&mut self, token: Token, fd: RawFd) {
        let Some(pending) = self.waiting.get(token).filter(|pending| pending.restore) else { return };
        pending.restore = false;
        let (Request::Accept { listener } | Request::AcceptMulti { listener }) = &pending.request else {
            return;
        };
        let listener = *listener;
        let others = &self.interests.at(fd).reads;
        match others.iter().find(|other| *other != token).and_then(|other| self.waiting.get(other)) {
            Some(other) => other.restore = true,
            None => restore_blocking(listener),
        }
    }

    /// Reports the last completion of an operation.
    fn end(&mut self, token: Token, result: i32) {
        self.leave(token);
        if self.waiting.remove(token).is_some() {
            self.done.push((token, Completion::new(result, 0)));
        }
    }

    /// Tries the operations that read from `fd`, in order, until one has to wait.
    fn read_on(&mut self, fd: RawFd) {
        let mut attempts = 0;
        loop {
            let Self { interests, waiting, groups, done, .. } = self;
            let watch = interests.at(fd);
            let Some(token) = watch.reads.first().filter(|_| !watch.drained) else { return };
            let pending = waiting.get(token).expect("who waits is not over");
            attempts += 1;
            if attempts > attempts_max(&pending.request) {
                return self.try_again(fd);
            }
            match attempt(pending, groups) {
                Attempt::Done(result) => self.end_read(token, result),
                Attempt::DoneShort(result) => {
                    let _is_drained = watch.fell_short(&pending.request);
                    self.end_read(token, result);
                }
                Attempt::Item(item) => {
                    done.push((token, item));
                    if matches!(pending.request, Request::AcceptMulti { .. }) {
                        interests.is_new(item.result);
                    }
                }
                Attempt::ItemShort(item) => {
                    done.push((token, item));
                    // The end of nearly every receive.
                    if watch.fell_short(&pending.request) {
                        return;
                    }
                }
                Attempt::Blocks => watch.drained = true,
                Attempt::Offload => self.thread_for(token),
            }
        }
    }

    fn end_read(&mut self, token: Token, result: i32) {
        let pending = self.waiting.get(token).expect("it has just been tried");
        if result >= 0 && matches!(pending.request, Request::Accept { .. }) {
            self.interests.is_new(result);
        }
        self.end(token, result);
    }

    fn thread_for(&mut self, token: Token) {
        let pending = self.waiting.get(token).expect("it has just been tried");
        let transfer = Transfer::of(&pending.request).expect("only files need a thread");
        self.offload(token, transfer);
    }

    /// Tries the operations that write to `fd`, in order, until one has to wait.
    fn write_on(&mut self, fd: RawFd) {
        for _ in 0..ATTEMPTS_MAX {
            let watch = self.interests.at(fd);
            let Some(token) = watch.writes.first().filter(|_| !watch.full) else { return };
            let pending = self.waiting.get(token).expect("who waits is not over");
            match attempt(pending, &mut self.groups) {
                Attempt::Done(result) | Attempt::DoneShort(result) => self.end(token, result),
                Attempt::Blocks => self.interests.at(fd).full = true,
                Attempt::Offload => self.thread_for(token),
                Attempt::Item(_) | Attempt::ItemShort(_) => unreachable!("no write has items"),
            }
        }
        self.try_again(fd);
    }

    fn poll_on(&mut self, fd: RawFd, token: Token) {
        let Some(pending) = self.waiting.get(token) else { return };
        debug_assert_eq!(pending.place, Place::Descriptor(fd, Side::Poll));
        match attempt(pending, &mut self.groups) {
            Attempt::Done(mask) => self.end(token, mask),
            Attempt::Item(done) => self.done.push((token, done)),
            Attempt::Blocks => {}
            Attempt::DoneShort(_) | Attempt::ItemShort(_) | Attempt::Offload => {
                unreachable!("a poll moves nothing")
            }
        }
    }

    fn try_again(&mut self, fd: RawFd) {
        let watch = self.interests.at(fd);
        if !std::mem::replace(&mut watch.again, true) {
            self.again.push_back(fd);
        }
    }

    /// Something happened to `fd`. Polls first: what they wait for may be gone when others have read.
    fn advance(&mut self, fd: RawFd) {
        let watch = self.interests.at(fd);
        let writes = !watch.writes.is_empty();
        if !watch.polls.is_empty() {
            let polls: Vec<_> = watch.polls.iter().collect();
            for token in polls {
                self.poll_on(fd, token);
            }
        }
        self.read_on(fd);
        if writes {
            self.write_on(fd);
        }
    }

    /// Ends an operation early, if it has not begun for good: the answer of a cancel.
    fn stop(&mut self, target: Token) -> i32 {
        let Some(pending) = self.waiting.get(target) else { return -libc::ENOENT };
        // What was moved was moved, whoever asks for the end.
        let moved = pending.progress as i32;
        match pending.place {
            Place::Pool if !self.offload.withdraw(target) => return -libc::EALREADY,
            Place::Clock(Some(due)) => self.timers.cancel(due),
            Place::Pool | Place::Clock(None) | Place::Descriptor(..) | Place::Nowhere => {}
        }
        self.end(target, if moved > 0 { moved } else { -libc::ECANCELED });
        0
    }

    fn look(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        self.unseen = 0;
        self.unasked = 0;
        let waited = self.interests.wait(timeout, &mut self.happened);
        waited.map_err(|failure| error::named("epoll_wait", "", failure))
    }

    /// Acts on some of the events that were collected.
    fn dispatch(&mut self) {
        // Among thousands this memory has left the cache: let the misses overlap.
        let readers = self.interests.foresee(self.happened.first(EVENTS_PER_TURN));
        readers.for_each(|token| self.waiting.foresee(token));
        for _ in 0..EVENTS_PER_TURN {
            match self.happened.next() {
                Some(Happened::Descriptor(fd)) => self.advance(fd),
                Some(Happened::Timer) => {
                    let Self { timers, waiting, done, .. } = self;
                    timers.fire(|token| {
                        if waiting.remove(token).is_some() {
                            done.push((token, Completion::failed(libc::ETIME)));
                        }
                    });
                }
                // The park is over already; results of threads are collected in any case.
                Some(Happened::Unparked) => {}
                None => return,
            }
        }
    }
}

// SAFETY: [loan-pinned] an operation that is over has left `waiting`, and its thread has reported; nothing
// refers to it then. [done-genuine] results are those of the system calls; [ring-open] the poller
// owns its descriptor.
unsafe impl Backend for Epoll {
    fn submit(&mut self, token: Token, lent: Lent) -> Submitted {
        let progress = self.ahead.take(token);
        self.start(Pending { progress, ..Pending::new(token, lent.into_request()) });
        Submitted::Accepted
    }

    fn cancel(&mut self, token: Token) -> Submitted {
        self.stop(token);
        Submitted::Accepted
    }

    fn park(&mut self, timeout: Option<Duration>, batch: &mut Batch) -> io::Result<()> {
        self.interests.turn();
        self.sent_now = 0;
        for _ in 0..self.again.len() {
            let fd = self.again.pop_front().expect("as many as were counted");
            self.interests.at(fd).again = false;
            self.advance(fd);
        }
        let has_results = !self.done.is_empty() || !self.again.is_empty();
        let mut looked = Ok(());
        if !self.happened.is_empty() {
            // There is enough to do.
        } else if has_results && self.unseen < UNSEEN_MAX {
            // What ended at once is reported at once; the wait that follows sees the events.
            self.unseen += 1;
        } else {
            looked = self.look(if has_results { Some(Duration::ZERO) } else { timeout });
        }
        self.dispatch();
        for (token, result) in self.offload.collect() {
            self.end(token, result);
        }
        if batch.is_empty() {
            // Both keep their room, so that a busy core allocates nothing.
            std::mem::swap(batch, &mut self.done);
            self.done.reserve(RESULTS_MIN);
        } else {
            batch.append(&mut self.done);
        }
        looked
    }

    fn has_pending(&mut self) -> bool {
        if !self.done.is_empty() || !self.again.is_empty() || !self.happened.is_empty() {
            return true;
        }
        self.unasked += 1;
        // Between looks the descriptor is readable for who waits for it; who runs on asks again.
        self.unasked >= UNASKED_MAX && self.look(Some(Duration::ZERO)).is_ok() && !self.happened.is_empty()
    }

    fn unparker(&self) -> Unparker {
        self.unparker.clone()
    }

    fn open_group(&mut self, group: GroupId, memory: &GroupMemory, incremental: bool) -> io::Result<()> {
        let number = usize::from(group.to_raw());
        if self.groups.len() <= number {
            self.groups.resize_with(number + 1, || None);
        }
        // SAFETY: [group-mapped] the driver keeps `memory` until it closed the group, or for ever.
        self.groups[number] = Some(unsafe { Picker::new(memory, incremental) });
        Ok(())
    }

    fn close_group(&mut self, group: GroupId) {
        self.groups[usize::from(group.to_raw())] = None;
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.interests.as_fd()
    }

    fn report(&self) -> &BackendReport {
        &self.report
    }

    fn counters(&self) -> Counters {
        Counters { enters: self.interests.waits, cq_overflows: 0 }
    }
}
