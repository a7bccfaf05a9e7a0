//! Table, backend and queues of one driver, and the order in which they work together.
//!
//! Nothing here drops an operation or calls a waker: what has to be dropped or woken is noted
//! for `shared.rs`, which does it when the core is free again.

use std::collections::VecDeque;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::backend::epoll::Epoll;
use crate::backend::uring::Uring;
use crate::backend::{Backend, Batch, Lent, Submitted};
use crate::completion::Completion;
use crate::lifecycle::table::{Applied, Later, Table};
use crate::op::{OnDrop, Op};
use crate::pool::GroupState;
use crate::stats::Stats;
use crate::system::System;
use crate::target::Place;
use crate::token::Token;

/// The real backends cost a predictable branch; any other a virtual call.
pub(crate) enum Engine {
    Uring(Box<Uring>),
    Epoll(Box<Epoll>),
    Other(Box<dyn Backend>),
}

impl Engine {
    pub(crate) fn as_dyn(&mut self) -> &mut dyn Backend {
        match self {
            Self::Uring(uring) => uring.as_mut(),
            Self::Epoll(epoll) => epoll.as_mut(),
            Self::Other(other) => other.as_mut(),
        }
    }

    #[inline]
    pub(crate) fn submit(&mut self, token: Token, lent: Lent) -> Submitted {
        match self {
            Self::Uring(uring) => uring.submit(token, lent),
            Self::Epoll(epoll) => epoll.submit(token, lent),
            Self::Other(other) => other.submit(token, lent),
        }
    }

    /// Finds a place in a table of files that requests may name, where there is one.
    pub(crate) fn hold(&mut self, fd: BorrowedFd<'_>) -> Option<Place> {
        match self {
            Self::Uring(uring) => uring.hold(fd),
            Self::Epoll(_) | Self::Other(_) => None,
        }
    }

    pub(crate) fn let_go(&mut self, place: Place) {
        match self {
            Self::Uring(uring) => uring.let_go(place),
            Self::Epoll(_) | Self::Other(_) => {}
        }
    }

    /// True if an operation may be carried out without being submitted.
    pub(crate) fn is_direct(&self) -> bool {
        matches!(self, Self::Uring(_) | Self::Epoll(_))
    }

    pub(crate) fn park(&mut self, timeout: Option<Duration>, batch: &mut Batch) -> io::Result<()> {
        match self {
            Self::Uring(uring) => uring.park(timeout, batch),
            Self::Epoll(epoll) => epoll.park(timeout, batch),
            Self::Other(other) => other.park(timeout, batch),
        }
    }
}

pub(crate) struct Core {
    pub(crate) table: Table,
    /// `None` once the driver shut down and everything was back.
    pub(crate) engine: Option<Engine>,
    pub(crate) groups: Vec<Rc<GroupState>>,
    /// Operations that found the submission queue full, in order.
    pub(crate) backlog: VecDeque<Token>,
    /// Cancels that did: they cannot be lost, so they wait here.
    pub(crate) cancels: VecDeque<Token>,
    /// Completions that were collected and are not applied yet.
    pub(crate) batch: Batch,
    /// Emptied by every turn, kept for its room.
    pub(crate) later: Later,
    pub(crate) stats: Stats,
    pub(crate) system: Rc<dyn System>,
    pub(crate) closed: bool,
}

impl Core {
    /// Hands a `Queued` operation to the backend, or to the backlog if there is no room.
    #[inline]
    pub(crate) fn launch(&mut self, token: Token) {
        if self.closed {
            self.refuse(token);
        } else if !self.backlog.is_empty() || !(self.offer(token) || (self.make_room() && self.offer(token)))
        {
            self.stats.backlogged += 1;
            self.backlog.push_back(token);
        }
    }

    pub(crate) fn refuse(&mut self, token: Token) {
        let refused = Completion::failed(libc::ECANCELED);
        let applied = self.table.complete(token, refused, &mut self.later);
        debug_assert_ne!(applied, Applied::Pause, "a refusal is the last completion");
    }

    /// True if the backend took it, or if it is gone.
    #[inline]
    pub(crate) fn offer(&mut self, token: Token) -> bool {
        let Self { table, engine, .. } = self;
        let Some(engine) = engine else { return false };
        table.hand_over(token, |lent| engine.submit(token, lent)) != Some(Submitted::Full)
    }

    /// Lets the backend consume its queue. What it reports is applied by the next turn.
    pub(crate) fn make_room(&mut self) -> bool {
        let Self { engine, batch, .. } = self;
        engine.as_mut().is_some_and(|engine| engine.park(Some(Duration::ZERO), batch).is_ok())
    }

    /// Offers what had no room before: cancels first, because they free what others wait for.
    pub(crate) fn hand_over(&mut self) {
        while let Some(&token) = self.cancels.front() {
            if self.table.is_lent(token) && !self.offer_cancel(token) {
                break;
            }
            self.cancels.pop_front();
        }
        // Taken out first: an operation whose request panics is not asked again.
        while let Some(token) = self.backlog.pop_front() {
            if !self.offer(token) {
                self.backlog.push_front(token);
                break;
            }
        }
    }

    pub(crate) fn offer_cancel(&mut self, token: Token) -> bool {
        let Some(engine) = &mut self.engine else { return true };
        engine.as_dyn().cancel(token) == Submitted::Accepted
    }

    pub(crate) fn cancel(&mut self, token: Token) {
        if self.table.is_queued(token) {
            self.refuse(token);
        } else if self.table.is_lent(token) && (!self.cancels.is_empty() || !self.offer_cancel(token)) {
            #[cfg(feature = "mutants")]
            if crate::mutants::is("cancel-lost") {
                return;
            }
            self.cancels.push_back(token);
        }
    }

    pub(crate) fn cancel_all(&mut self, wanted: impl Fn(OnDrop) -> bool) {
        let tokens = self.table.lent_tokens().filter(|(_, on_drop)| wanted(*on_drop)).map(|(token, _)| token);
        self.cancels.extend(tokens);
    }

    pub(crate) fn close(&mut self) {
        self.closed = true;
        self.refuse_backlog(|table, token| !table.is_unattended(token));
        self.cancel_all(|on_drop| on_drop == OnDrop::Cancel);
    }

    /// Ends what the kernel does not have yet and is `wanted`; the rest waits on, in order.
    pub(crate) fn refuse_backlog(&mut self, wanted: impl Fn(&Table, Token) -> bool) {
        for _ in 0..self.backlog.len() {
            let token = self.backlog.pop_front().expect("counted");
            if !wanted(&self.table, token) {
                self.backlog.push_back(token);
            } else if self.table.is_queued(token) {
                self.refuse(token);
            }
        }
    }

    /// Applies the whole batch; wakes and partings are noted for later.
    pub(crate) fn apply(&mut self) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        let collected = batch.len();
        // Among thousands of operations each of these is a miss: let the misses overlap.
        for (token, _) in batch.iter() {
            self.table.foresee(*token);
        }
        for (token, mut done) in batch.drain(..) {
            self.stats.completions += 1;
            self.stats.faulted += u64::from(done.result == -libc::EFAULT);
            if (done.buffer().is_some() || done.result == -libc::ENOBUFS)
                && let Some((group, bundle)) = self.table.group_of(token)
            {
                let group = &self.groups[usize::from(group)];
                group.arrive(&mut done, bundle);
                // Who has been asked to pause takes what is there: a flood that nobody reads enlarges no group.
                if !self.table.is_pausing(token) {
                    if done.result == -libc::ENOBUFS {
                        group.ran_dry();
                    } else {
                        group.was_picked_from();
                    }
                }
            }
            match self.table.complete(token, done, &mut self.later) {
                Applied::Known => {}
                Applied::Pause => self.cancel(token),
                Applied::Stale => self.stats.stale += 1,
                Applied::Early => self.lends_on(token, done),
                Applied::Back(result) => self.is_back(result),
            }
        }
        self.batch = batch;
        collected
    }

    /// Neither the kernel nor the backlog has anything.
    pub(crate) fn is_drained(&self) -> bool {
        self.table.lent == 0 && self.backlog.is_empty()
    }

    /// A zero-copy send has its result; its memory comes back later.
    #[cold]
    fn lends_on(&mut self, token: Token, result: Completion) {
        let now = self.micros();
        self.table.stamp(token, now);
        self.stats.zero_copy_sent += u64::from(result.result >= 0);
        self.stats.zero_copy_lent += 1;
    }

    /// The memory of a zero-copy send is back.
    #[cold]
    fn is_back(&mut self, result: Completion) {
        let waited = u64::from(self.micros().wrapping_sub(result.offset));
        let stats = &mut self.stats;
        stats.zero_copy_lent -= 1;
        stats.zero_copy_copied += u64::from(result.result >= 0 && result.was_copied());
        stats.zero_copy_lent_us += waited;
        stats.zero_copy_lent_us_max = stats.zero_copy_lent_us_max.max(waited);
    }

    /// The clock in microseconds that wrap after 71 minutes.
    fn micros(&self) -> u32 {
        self.system.now().as_micros() as u32
    }

    /// Lets groups have what they need, and give back what they no longer need; how long the turn may wait, for
    /// another look at them.
    #[inline]
    pub(crate) fn tend(&mut self, timeout: Option<Duration>) -> Option<Duration> {
        for group in &self.groups {
            group.see_to_the_ring(&mut self.later.wakes);
        }
        if self.groups.iter().all(|group| !group.has_surplus()) {
            return timeout;
        }
        let now = self.system.now();
        let looks =
            self.groups.iter().filter(|group| group.has_surplus()).filter_map(|group| group.tend(now));
        looks.chain(timeout).min()
    }

    /// Carries a send out that needs no waiting; otherwise the bytes that went.
    #[inline]
    pub(crate) fn send_now<O: Op>(&mut self, op: &mut O) -> Result<Completion, u32> {
        let Self { engine: Some(engine), backlog, stats, closed: false, .. } = self else {
            return Err(0);
        };
        if !backlog.is_empty() {
            return Err(0);
        }
        let done = match engine {
            Engine::Uring(uring) => uring.send_now(&op.request())?,
            Engine::Epoll(epoll) => epoll.send_now(&op.request())?,
            Engine::Other(_) => return Err(0),
        };
        stats.submitted += 1;
        stats.completions += 1;
        stats.delivered += 1;
        Ok(done)
    }

    /// So many bytes of an operation that is submitted next went before: the backend tried it.
    #[cold]
    pub(crate) fn went_before(&mut self, token: Token, bytes: u32) {
        match &mut self.engine {
            Some(Engine::Uring(uring)) => uring.went_before(token, bytes),
            Some(Engine::Epoll(epoll)) => epoll.went_before(token, bytes),
            Some(Engine::Other(_)) | None => unreachable!("it sends nothing at once"),
        }
    }

    /// Nothing waits in user space, so a turn may wait for the kernel.
    pub(crate) fn is_idle(&self) -> bool {
        self.batch.is_empty()
            && self.backlog.is_empty()
            && self.cancels.is_empty()
            && self.later.wakes.is_empty()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        // A panic cut the shut-down short: as in `leak`, the kernel may still touch all this.
        if self.table.lent > 0 {
            let (table, groups) = (std::mem::take(&mut self.table), std::mem::take(&mut self.groups));
            std::mem::forget((self.engine.take(), table, groups));
        }
    }
}
