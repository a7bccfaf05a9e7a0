//! What driver, handles and futures of one ring share: the table, the backend, and the
//! order in which things happen.
//!
//! Nothing here drops an operation or calls a waker while the core is borrowed: both
//! may submit.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::rc::{Rc, Weak};
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::backend::{Backend, BackendReport, Batch, Unparker};
use crate::completion::{Completion, Done};
use crate::driver_core::{Core, Engine};
use crate::fd::{Files, HeldPlace, SharedFd};
use crate::lifecycle::parting::Parting;
use crate::lifecycle::table::{Dropped, Later, Table, Taken};
use crate::op::{MultiOp, Op};
use crate::pool::{Group, GroupConfig, GroupId, GroupState};
use crate::stats::Stats;
use crate::system::System;
use crate::target::Place;
use crate::token::Token;

/// Numbers the drivers of this process, so that their groups cannot be mixed up.
static DRIVERS: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Shared {
    core: RefCell<Core>,
    /// What left the table and is not dropped yet, in order.
    partings: RefCell<VecDeque<Parting>>,
    /// It is being dropped, further up the stack.
    parting: Cell<bool>,
    /// Sends may be carried out without being submitted.
    is_direct: bool,
    report: BackendReport,
    unparker: Unparker,
    system: Rc<dyn System>,
}

impl Shared {
    pub(crate) fn new(mut engine: Engine) -> Self {
        let (report, unparker) = (engine.as_dyn().report().clone(), engine.as_dyn().unparker());
        let system = engine.as_dyn().system();
        let is_direct = engine.is_direct();
        let core = Core {
            table: Table::new(DRIVERS.fetch_add(1, Ordering::Relaxed)),
            engine: Some(engine),
            groups: Vec::new(),
            backlog: VecDeque::new(),
            cancels: VecDeque::new(),
            batch: Batch::new(),
            later: Later::default(),
            stats: Stats::default(),
            system: system.clone(),
            closed: false,
        };
        let (core, partings, parting) = (RefCell::new(core), RefCell::default(), Cell::new(false));
        Self { core, partings, parting, is_direct, report, unparker, system }
    }

    /// Files an operation and hands it to the backend.
    pub(crate) fn submit(&self, insert: impl FnOnce(&mut Table) -> Token) -> Token {
        self.submit_rest(0, insert)
    }

    /// As [`Self::submit`], for one of which `sent` bytes went just now.
    #[inline]
    pub(crate) fn submit_rest(&self, sent: u32, insert: impl FnOnce(&mut Table) -> Token) -> Token {
        let nobodys; // Declared first, so that it is dropped with the core free.
        let mut core = self.core.borrow_mut();
        let token = insert(&mut core.table);
        core.stats.submitted += 1;
        nobodys = Nobodys(self, token);
        if sent > 0 {
            core.went_before(token, sent);
        }
        core.launch(token);
        std::mem::forget(nobodys);
        token
    }

    /// Carries a send out, if that needs no waiting and the backend can; otherwise the bytes that went.
    #[inline]
    pub(crate) fn send_now<O: Op>(&self, op: &mut O) -> Result<Done<O>, u32> {
        if !self.is_direct {
            return Err(0);
        }
        let done = self.core.borrow_mut().send_now(op)?;
        Ok(Done::new(done, None))
    }

    /// Takes operation and result out of the table, or files the waker.
    #[inline]
    pub(crate) fn take<O: Op>(&self, token: Token, cx: &mut Context<'_>) -> Poll<(O, Done<O>)> {
        let taken = self.take_or_register(token, cx, |core, waker| {
            let taken = core.table.take::<O>(token, waker);
            core.stats.delivered += u64::from(matches!(taken, Taken::Ready(_)));
            taken
        });
        let Taken::Ready(over) = taken else { return Poll::Pending };
        let (op, done, slot) = over.open();
        self.core.borrow_mut().table.give_back(slot);
        Poll::Ready((op, done))
    }

    /// As [`Self::take`], for an operation of forgotten type.
    pub(crate) fn take_detached(
        &self,
        token: Token,
        cx: &mut Context<'_>,
    ) -> Taken<(Completion, Option<Parting>)> {
        self.take_or_register(token, cx, |core, waker| {
            let taken = core.table.take_detached(token, waker);
            core.stats.delivered += u64::from(matches!(taken, Taken::Ready(_)));
            taken
        })
    }

    /// The result of an operation that stays in the table, until its memory is back or for as long as it likes.
    pub(crate) fn look(&self, token: Token, cx: &mut Context<'_>) -> Taken<Completion> {
        self.take_or_register(token, cx, |core, waker| core.table.look(token, waker))
    }

    /// Takes the next item of a multishot, or what is left of it after the last.
    pub(crate) fn take_item<O: MultiOp>(
        &self,
        token: Token,
        cx: &mut Context<'_>,
    ) -> Taken<Result<O::Item, Parting>> {
        self.take_or_register(token, cx, |core, waker| {
            let taken = core.table.take_item::<O>(token, waker);
            core.stats.delivered += u64::from(matches!(taken, Taken::Ready(Err(_))));
            taken
        })
    }

    /// As [`Self::take_item`], without asking the operation.
    #[inline]
    pub(crate) fn take_done<O: MultiOp>(
        &self,
        token: Token,
        cx: &mut Context<'_>,
    ) -> Taken<Result<Done<O>, Parting>> {
        self.take_or_register(token, cx, |core, waker| {
            let taken = core.table.take_done::<O>(token, waker);
            core.stats.delivered += u64::from(matches!(taken, Taken::Ready(Err(_))));
            taken
        })
    }

    #[inline]
    fn take_or_register<T>(
        &self,
        token: Token,
        cx: &mut Context<'_>,
        take: impl FnOnce(&mut Core, &Waker) -> Taken<T>,
    ) -> Taken<T> {
        let taken = take(&mut self.core.borrow_mut(), cx.waker());
        if matches!(taken, Taken::Register) {
            let waker = cx.waker().clone();
            let old = self.core.borrow_mut().table.register(token, waker);
            drop(old);
        }
        taken
    }

    pub(crate) fn drop_future(&self, token: Token) {
        self.core.borrow_mut().stats.orphaned += 1;
        self.leave(token);
    }

    /// As [`Self::drop_future`], after the result was looked at: it has reached the one who waited.
    pub(crate) fn drop_told(&self, token: Token) {
        self.core.borrow_mut().stats.delivered += 1;
        self.leave(token);
    }

    fn leave(&self, token: Token) {
        let mut core = self.core.borrow_mut();
        let (dropped, waker) = core.table.drop_future(token);
        if matches!(dropped, Dropped::Cancel) {
            core.cancel(token);
        }
        drop(core);
        drop(waker);
        if let Dropped::Parts(parting) = dropped {
            self.part(parting);
        }
    }

    /// Drops what left the table, in order, also when a drop leads to another turn: an item
    /// refers to its operation, which parts behind it.
    fn part_all(&self) {
        struct Over<'a>(&'a Cell<bool>);
        impl Drop for Over<'_> {
            fn drop(&mut self) {
                self.0.set(false);
            }
        }
        if self.parting.replace(true) {
            return;
        }
        let _over = Over(&self.parting);
        loop {
            let Some(parting) = self.partings.borrow_mut().pop_front() else { return };
            self.part(parting);
        }
    }

    /// Drops and wakes what was noted, with the core free.
    fn wake_all(&self, mut core: RefMut<'_, Core>) {
        let nothing = core.later.wakes.is_empty() && core.later.partings.is_empty();
        if nothing && self.partings.borrow().is_empty() {
            return;
        }
        let mut later = std::mem::take(&mut core.later);
        drop(core);
        let mut awake = Awake { shared: self, wakes: later.wakes.drain(..) };
        // Most turns drop nothing.
        if !later.partings.is_empty() || !self.partings.borrow().is_empty() {
            self.partings.borrow_mut().extend(later.partings.drain(..));
            self.part_all();
        }
        for waker in &mut awake.wakes {
            waker.wake();
        }
        drop(awake);
        let mut core = self.core.borrow_mut();
        // Kept for its room, unless a waker noted something meanwhile.
        if core.later.wakes.is_empty() && core.later.partings.is_empty() {
            core.later = later;
        }
    }

    /// Drops what left the table.
    pub(crate) fn part(&self, parting: Parting) {
        if let Some(slot) = parting.run() {
            self.core.borrow_mut().table.give_back(slot);
        }
    }

    pub(crate) fn cancel(&self, token: Token) {
        let mut core = self.core.borrow_mut();
        core.cancel(token);
        self.wake_all(core);
    }

    /// One turn: hand over, wait, collect, apply, wake. The number of completions.
    pub(crate) fn turn(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut core = self.core.borrow_mut();
        core.hand_over();
        let timeout = core.tend(timeout);
        let timeout =
            if core.is_idle() && self.partings.borrow().is_empty() { timeout } else { Some(Duration::ZERO) };
        let Core { engine, batch, .. } = &mut *core;
        let Some(engine) = engine else { return Ok(0) };
        let parked = engine.park(timeout, batch);
        let collected = core.apply();
        core.hand_over();
        self.wake_all(core);
        parked.map(|()| collected)
    }

    pub(crate) fn has_pending(&self) -> bool {
        let mut core = self.core.borrow_mut();
        !core.is_idle()
            || !self.partings.borrow().is_empty()
            || core.engine.as_mut().is_some_and(|engine| engine.as_dyn().has_pending())
    }

    pub(crate) fn open_group(&self, config: GroupConfig) -> io::Result<Group> {
        let mut core = self.core.borrow_mut();
        let number = u16::try_from(core.groups.len()).expect("fewer than 2^16 groups");
        let id = GroupId::new(number, core.table.driver);
        let state = Rc::new(GroupState::new(id, config)?);
        let engine = core.engine.as_mut().ok_or_else(closed)?;
        engine.as_dyn().open_group(id, &state.memory, state.is_incremental())?;
        core.groups.push(state.clone());
        Ok(Group { state })
    }

    /// A clone of `fd` that requests name by a place in the ring's own table, where it has room.
    pub(crate) fn hold(self: &Rc<Self>, fd: &SharedFd) -> Option<SharedFd> {
        fd.at_place(|fd| {
            let place = self.core.borrow_mut().engine.as_mut()?.hold(fd)?;
            let files: Weak<Self> = Rc::downgrade(self);
            Some(HeldPlace { files, place })
        })
    }

    /// Ends everything within `timeout`; the number of operations that had to be leaked.
    pub(crate) fn shut_down(self: &Rc<Self>, timeout: Duration) -> usize {
        let start = self.system.now();
        {
            let mut core = self.core.borrow_mut();
            if core.engine.is_none() || core.stats.leaked > 0 {
                return core.stats.leaked as usize;
            }
            core.close();
            self.wake_all(core);
        }
        // Operations that want to run to their end get most of the time for it.
        let patience = timeout / 4 * 3;
        let mut forced = false;
        loop {
            let elapsed = self.system.now() - start;
            if self.core.borrow().is_drained() {
                break;
            }
            if elapsed >= patience && !forced {
                forced = true;
                let mut core = self.core.borrow_mut();
                core.refuse_backlog(|_, _| true);
                core.cancel_all(|_| true);
                self.wake_all(core);
            }
            if elapsed >= timeout && self.turn(Some(Duration::ZERO)).is_ok_and(|collected| collected == 0) {
                return self.leak();
            }
            let until = if forced { timeout } else { patience };
            if self.turn(Some(until.saturating_sub(elapsed))).is_err() {
                return self.leak();
            }
        }
        let mut core = self.core.borrow_mut();
        let mut engine = core.engine.take().expect("taken here only");
        let counters = engine.as_dyn().counters();
        core.stats.enters = counters.enters;
        core.stats.cq_overflows = counters.cq_overflows;
        let driver = core.table.driver;
        for group in 0..core.groups.len() {
            engine.as_dyn().close_group(GroupId::new(group as u16, driver));
        }
        0
    }

    /// Keeps ring, operations and buffers for ever: the kernel may still touch them.
    fn leak(self: &Rc<Self>) -> usize {
        let mut core = self.core.borrow_mut();
        let leaked = core.table.lent;
        core.stats.leaked = leaked as u64;
        #[cfg(feature = "mutants")]
        if crate::mutants::is("drain-frees") {
            let driver = core.table.driver;
            core.table.lent_tokens().for_each(|(token, _)| crate::mutants::free(driver, token));
        }
        drop(core);
        std::mem::forget(Rc::clone(self));
        leaked
    }

    pub(crate) fn report(&self) -> BackendReport {
        self.report.clone()
    }

    pub(crate) fn system(&self) -> &dyn System {
        &*self.system
    }

    pub(crate) fn unparker(&self) -> Unparker {
        self.unparker.clone()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.core.borrow().closed
    }

    /// True once the backend is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.core.borrow().engine.is_none()
    }

    /// What becomes readable when there is something to collect.
    pub(crate) fn wait_fd(&self) -> RawFd {
        match &self.core.borrow().engine {
            Some(Engine::Uring(uring)) => uring.as_fd().as_raw_fd(),
            Some(Engine::Epoll(epoll)) => epoll.as_fd().as_raw_fd(),
            Some(Engine::Other(other)) => other.as_fd().as_raw_fd(),
            // The ring is closed: nothing will come but an unpark.
            None => self.unparker.as_fd().as_raw_fd(),
        }
    }

    /// As `wait_fd`, as a descriptor of the caller's own; an error where that one would not wake a poll.
    pub(crate) fn owned_wait_fd(&self) -> io::Result<OwnedFd> {
        match &self.core.borrow().engine {
            Some(Engine::Uring(uring)) => uring.bell()?.try_clone_to_owned(),
            Some(Engine::Epoll(epoll)) => epoll.as_fd().try_clone_to_owned(),
            Some(Engine::Other(other)) => other.as_fd().try_clone_to_owned(),
            None => Err(closed()),
        }
    }

    pub(crate) fn stats(&self) -> Stats {
        let mut core = self.core.borrow_mut();
        let mut stats = core.stats;
        if let Some(engine) = &mut core.engine {
            let counters = engine.as_dyn().counters();
            stats.enters = counters.enters;
            stats.cq_overflows = counters.cq_overflows;
        }
        let queued = core.backlog.iter().filter(|token| core.table.is_queued(**token)).count();
        stats.in_flight = (core.table.lent + queued) as u64;
        let leased = |group: &Rc<GroupState>| Group { state: group.clone() }.leased() as u64;
        stats.leased = core.groups.iter().map(leased).sum();
        let of_groups =
            |of: fn(&Group) -> u64| core.groups.iter().map(|group| of(&Group { state: group.clone() })).sum();
        stats.pool_bytes = of_groups(Group::bytes);
        stats.pool_grown = of_groups(Group::grown);
        stats.pool_shrunk = of_groups(Group::shrunk);
        stats
    }
}

impl Files for Shared {
    fn let_go(&self, place: Place) {
        // Nobody drops a descriptor while the core is borrowed: see above.
        if let Some(engine) = &mut self.core.borrow_mut().engine {
            engine.let_go(place);
        }
    }
}

/// Wakers on their way: those that a panic left over are for the next turn.
struct Awake<'a, 'b> {
    shared: &'a Shared,
    wakes: std::vec::Drain<'b, Waker>,
}

impl Drop for Awake<'_, '_> {
    fn drop(&mut self) {
        if self.wakes.len() > 0 {
            self.shared.core.borrow_mut().later.wakes.extend(&mut self.wakes);
        }
    }
}

/// An operation whose request panicked while it was submitted: no future will drop it.
struct Nobodys<'a>(&'a Shared, Token);

impl Drop for Nobodys<'_> {
    fn drop(&mut self) {
        self.0.drop_future(self.1);
    }
}

fn closed() -> io::Error {
    io::Error::new(io::ErrorKind::NotConnected, "the driver has shut down")
}
