//! What driver, handles and futures of one ring share: the table, the backend, and the
//! order in which things happen.
//!
//! Nothing here drops an operation or calls a waker while the core is borrowed: both
//! may submit.

use std::cell::{Cell, RefCell, RefMut};
use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::rc::Rc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use crate::backend::uring::Uring;
use crate::backend::{Backend, BackendReport, Batch, Lent, Submitted, Unparker};
use crate::completion::{Completion, Done};
use crate::lifecycle::table::{Applied, Dropped, Later, Parting, Table, Taken};
use crate::op::{MultiOp, OnDrop, Op};
use crate::pool::{Group, GroupConfig, GroupId, GroupState};
use crate::stats::Stats;
use crate::token::Token;

/// The real backend costs a predictable branch; any other a virtual call.
pub(crate) enum Engine {
    Uring(Box<Uring>),
    Other(Box<dyn Backend>),
}

impl Engine {
    fn as_dyn(&mut self) -> &mut dyn Backend {
        match self {
            Self::Uring(uring) => uring.as_mut(),
            Self::Other(other) => other.as_mut(),
        }
    }

    fn submit(&mut self, token: Token, lent: Lent) -> Submitted {
        match self {
            Self::Uring(uring) => uring.submit(token, lent),
            Self::Other(other) => other.submit(token, lent),
        }
    }

    fn park(&mut self, timeout: Option<Duration>, batch: &mut Batch) -> io::Result<()> {
        match self {
            Self::Uring(uring) => uring.park(timeout, batch),
            Self::Other(other) => other.park(timeout, batch),
        }
    }
}

/// Numbers the drivers of this process, so that their groups cannot be mixed up.
static DRIVERS: AtomicU32 = AtomicU32::new(1);

pub(crate) struct Shared {
    core: RefCell<Core>,
    /// What left the table and is not dropped yet, in order.
    partings: RefCell<VecDeque<Parting>>,
    /// It is being dropped, further up the stack.
    parting: Cell<bool>,
    report: BackendReport,
    unparker: Unparker,
}

struct Core {
    table: Table,
    /// `None` once the driver shut down and everything was back.
    engine: Option<Engine>,
    groups: Vec<Rc<GroupState>>,
    /// Operations that found the submission queue full, in order.
    backlog: VecDeque<Token>,
    /// Cancels that did: they cannot be lost, so they wait here.
    cancels: VecDeque<Token>,
    /// Completions that were collected and are not applied yet.
    batch: Batch,
    /// Emptied by every turn, kept for its room.
    later: Later,
    stats: Stats,
    closed: bool,
}

impl Shared {
    pub(crate) fn new(mut engine: Engine) -> Self {
        let (report, unparker) = (engine.as_dyn().report().clone(), engine.as_dyn().unparker());
        let core = Core {
            table: Table::new(DRIVERS.fetch_add(1, Ordering::Relaxed)),
            engine: Some(engine),
            groups: Vec::new(),
            backlog: VecDeque::new(),
            cancels: VecDeque::new(),
            batch: Batch::new(),
            later: Later::default(),
            stats: Stats::default(),
            closed: false,
        };
        let (core, partings, parting) = (RefCell::new(core), RefCell::default(), Cell::new(false));
        Self { core, partings, parting, report, unparker }
    }

    /// Files an operation and hands it to the backend.
    pub(crate) fn submit(&self, insert: impl FnOnce(&mut Table) -> Token) -> Token {
        let nobodys; // Declared first, so that it is dropped with the core free.
        let mut core = self.core.borrow_mut();
        let token = insert(&mut core.table);
        core.stats.submitted += 1;
        nobodys = Nobodys(self, token);
        core.launch(token);
        std::mem::forget(nobodys);
        token
    }

    /// Takes operation and result out of the table, or files the waker.
    pub(crate) fn take<O: Op>(&self, token: Token, cx: &mut Context<'_>) -> Taken<(O, Done<O>)> {
        self.take_or_register(token, cx, |core, waker| {
            let taken = core.table.take(token, waker);
            core.stats.delivered += u64::from(matches!(taken, Taken::Ready(_)));
            taken
        })
    }

    /// As [`Self::take`], for an operation of forgotten type.
    pub(crate) fn take_detached(&self, token: Token, cx: &mut Context<'_>) -> Taken<(Completion, Parting)> {
        self.take_or_register(token, cx, |core, waker| {
            let taken = core.table.take_detached(token, waker);
            core.stats.delivered += u64::from(matches!(taken, Taken::Ready(_)));
            taken
        })
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
        let mut core = self.core.borrow_mut();
        core.stats.orphaned += 1;
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

    /// Drops what left the table.
    pub(crate) fn part(&self, parting: Parting) {
        if let Some(slot) = parting.run() {
            self.core.borrow_mut().table.give_back(slot);
        }
    }

    pub(crate) fn cancel(&self, token: Token) {
        let mut core = self.core.borrow_mut();
        core.cancel(token);
        Core::wake_all(core, self);
    }

    /// One turn: hand over, wait, collect, apply, wake. The number of completions.
    pub(crate) fn turn(&self, timeout: Option<Duration>) -> io::Result<usize> {
        let mut core = self.core.borrow_mut();
        core.hand_over();
        let timeout =
            if core.is_idle() && self.partings.borrow().is_empty() { timeout } else { Some(Duration::ZERO) };
        let Core { engine, batch, .. } = &mut *core;
        let Some(engine) = engine else { return Ok(0) };
        let parked = engine.park(timeout, batch);
        let collected = core.apply();
        core.hand_over();
        Core::wake_all(core, self);
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

    /// Ends everything within `timeout`; the number of operations that had to be leaked.
    pub(crate) fn shut_down(self: &Rc<Self>, timeout: Duration) -> usize {
        let start = Instant::now();
        {
            let mut core = self.core.borrow_mut();
            if core.engine.is_none() || core.stats.leaked > 0 {
                return core.stats.leaked as usize;
            }
            core.close();
            Core::wake_all(core, self);
        }
        // Operations that want to run to their end get most of the time for it.
        let patience = timeout / 4 * 3;
        let mut forced = false;
        loop {
            let elapsed = start.elapsed();
            let in_flight = self.core.borrow().table.lent;
            if in_flight == 0 {
                break;
            }
            if elapsed >= patience && !forced {
                forced = true;
                self.core.borrow_mut().cancel_all(|_| true);
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
        drop(core);
        std::mem::forget(Rc::clone(self));
        leaked
    }

    pub(crate) fn report(&self) -> BackendReport {
        self.report.clone()
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

    pub(crate) fn unparker_fd(&self) -> BorrowedFd<'_> {
        self.unparker.as_fd()
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
        stats
    }
}

impl Core {
    /// Hands a `Queued` operation to the backend, or to the backlog if there is no room.
    fn launch(&mut self, token: Token) {
        if self.closed {
            self.refuse(token);
        } else if !self.backlog.is_empty() || !(self.offer(token) || (self.make_room() && self.offer(token)))
        {
            self.stats.backlogged += 1;
            self.backlog.push_back(token);
        }
    }

    fn refuse(&mut self, token: Token) {
        let refused = Completion::failed(libc::ECANCELED);
        let applied = self.table.complete(token, refused, &mut self.later);
        debug_assert_ne!(applied, Applied::Pause, "a refusal is the last completion");
    }

    /// True if the backend took it, or if it is gone.
    fn offer(&mut self, token: Token) -> bool {
        let Self { table, engine, .. } = self;
        let Some(engine) = engine else { return false };
        table.hand_over(token, |lent| engine.submit(token, lent)) != Some(Submitted::Full)
    }

    /// Lets the backend consume its queue. What it reports is applied by the next turn.
    fn make_room(&mut self) -> bool {
        let Self { engine, batch, .. } = self;
        engine.as_mut().is_some_and(|engine| engine.park(Some(Duration::ZERO), batch).is_ok())
    }

    /// Offers what had no room before: cancels first, because they free what others wait for.
    fn hand_over(&mut self) {
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

    fn offer_cancel(&mut self, token: Token) -> bool {
        let Some(engine) = &mut self.engine else { return true };
        engine.as_dyn().cancel(token) == Submitted::Accepted
    }

    fn cancel(&mut self, token: Token) {
        if self.table.is_queued(token) {
            self.refuse(token);
        } else if self.table.is_lent(token) && (!self.cancels.is_empty() || !self.offer_cancel(token)) {
            self.cancels.push_back(token);
        }
    }

    fn cancel_all(&mut self, wanted: impl Fn(OnDrop) -> bool) {
        let tokens = self.table.lent_tokens().filter(|(_, on_drop)| wanted(*on_drop)).map(|(token, _)| token);
        self.cancels.extend(tokens);
    }

    fn close(&mut self) {
        self.closed = true;
        while let Some(token) = self.backlog.pop_front() {
            if self.table.is_queued(token) {
                self.refuse(token);
            }
        }
        self.cancel_all(|on_drop| on_drop == OnDrop::Cancel);
    }

    /// Applies the whole batch; wakes and partings are noted for later.
    fn apply(&mut self) -> usize {
        let mut batch = std::mem::take(&mut self.batch);
        let collected = batch.len();
        for (token, mut done) in batch.drain(..) {
            self.stats.completions += 1;
            if done.buffer().is_some()
                && let Some((group, bundle)) = self.table.group_of(token)
            {
                self.groups[usize::from(group)].arrive(&mut done, bundle);
            }
            match self.table.complete(token, done, &mut self.later) {
                Applied::Known => {}
                Applied::Pause => self.cancel(token),
                Applied::Stale => self.stats.stale += 1,
            }
        }
        self.batch = batch;
        collected
    }

    /// Nothing waits in user space, so a turn may wait for the kernel.
    fn is_idle(&self) -> bool {
        self.batch.is_empty()
            && self.backlog.is_empty()
            && self.cancels.is_empty()
            && self.later.wakes.is_empty()
    }

    /// Drops and wakes what was noted, with the core free.
    fn wake_all(mut core: RefMut<'_, Self>, shared: &Shared) {
        let nothing = core.later.wakes.is_empty() && core.later.partings.is_empty();
        if nothing && shared.partings.borrow().is_empty() {
            return;
        }
        let mut later = std::mem::take(&mut core.later);
        drop(core);
        let mut awake = Awake { shared, wakes: later.wakes.drain(..) };
        // Most turns drop nothing.
        if !later.partings.is_empty() || !shared.partings.borrow().is_empty() {
            shared.partings.borrow_mut().extend(later.partings.drain(..));
            shared.part_all();
        }
        for waker in &mut awake.wakes {
            waker.wake();
        }
        drop(awake);
        let mut core = shared.core.borrow_mut();
        // Kept for its room, unless a waker noted something meanwhile.
        if core.later.wakes.is_empty() && core.later.partings.is_empty() {
            core.later = later;
        }
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
