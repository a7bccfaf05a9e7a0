//! The table of operations: carries out what [`step`] decides.
//!
//! No function here drops an operation or a buffer, or calls a waker: whoever does so
//! does it after the table is free again (see [`Parting`]).

#![allow(unsafe_code, reason = "erases the life of a loan, and ends it: the one place where this happens")]

use std::marker::PhantomData;
use std::task::Waker;

use crate::completion::{Completion, Done};
use crate::lifecycle::cell::Cell;
use crate::lifecycle::contract::{Contract, Lent};
use crate::lifecycle::prefetch::prefetch;
use crate::lifecycle::results::Results;
use crate::lifecycle::slots::{Picks, Slot, SlotKey, Slots};
use crate::lifecycle::state::{Action, Event, State, step};
#[cfg(feature = "mutants")]
use crate::mutants;
use crate::op::{MultiOp, OnDrop, Op};
use crate::pool::GroupId;
use crate::request::Submitted;
use crate::token::Token;

/// All operations of one driver.
#[derive(Default)]
pub(crate) struct Table {
    slots: Slots,
    /// Tells this driver's groups from those of others.
    pub(crate) driver: u32,
    /// Operations that the kernel has.
    pub(crate) lent: usize,
}

/// An operation that leaves the table, to be dropped when the table is free.
#[must_use]
pub(crate) struct Parting {
    contract: &'static Contract,
    cell: Cell,
    token: Token,
    group: Option<GroupId>,
    farewell: Farewell,
}

enum Farewell {
    /// The kernel never saw it.
    Unsent,
    /// Its kept results, the last one behind the others.
    Over(Results),
    /// One item of a multishot that goes on.
    Item(Completion),
}

#[cfg(feature = "mutants")]
impl Farewell {
    /// Without the results that a fault loses.
    fn mutilated(self, is_multishot: bool) -> Self {
        let is_lost = |done: &Completion| match done.buffer() {
            Some(_) => mutants::is("buffer-lost"),
            None => mutants::is("descriptor-leaked") && done.result >= 0,
        };
        match self {
            Self::Item(done) if is_lost(&done) => Self::Item(Completion::failed(libc::ECANCELED)),
            Self::Over(mut results) if is_multishot => {
                let mut kept = Results::default();
                while let Some(done) = results.pop() {
                    kept.push(if is_lost(&done) { Completion::failed(libc::ECANCELED) } else { done });
                }
                Self::Over(kept)
            }
            Self::Over(_) | Self::Item(_) | Self::Unsent => self,
        }
    }
}

impl Parting {
    /// Drops what has to be dropped; the slot, if it is free now. Call it with the table free.
    pub(crate) fn run(self) -> Option<SlotKey> {
        let Self { contract, cell, token, group, farewell } = self;
        #[cfg(feature = "mutants")]
        let farewell = farewell.mutilated(contract.is_multishot);
        match farewell {
            Farewell::Unsent => {
                // SAFETY: [cell-typed] the slot paired contract and cell, and is vacant; [loan-pinned] never lent.
                unsafe { contract.release(cell) };
                Some(SlotKey::of(token))
            }
            Farewell::Over(mut results) => {
                let mut last = results.pop();
                while let Some(done) = last {
                    last = results.pop();
                    if last.is_some() && contract.is_multishot {
                        // SAFETY: [cell-typed] the slot paired contract and cell, and is vacant.
                        unsafe { contract.dispose_item(cell, done, group) };
                    } else if last.is_none() {
                        // SAFETY: [cell-typed] as above, taken once; [loan-pinned] the last completion has come.
                        unsafe { contract.dispose_last(cell, done, group) };
                        return Some(SlotKey::of(token));
                    }
                }
                // SAFETY: [cell-typed] as above; [loan-pinned] a multishot whose results were all taken.
                unsafe { contract.release(cell) };
                Some(SlotKey::of(token))
            }
            Farewell::Item(done) => {
                // SAFETY: [cell-typed] the operation stands until the partings of its batch have run, in order.
                unsafe { contract.dispose_item(cell, done, group) };
                None
            }
        }
    }
}

/// What completions lead to, once the table is free: filled by [`Table::complete`].
#[derive(Default)]
pub(crate) struct Later {
    pub(crate) wakes: Vec<Waker>,
    pub(crate) partings: Vec<Parting>,
}

/// An operation that is over and still stands in its cell: moved out once, where it is needed.
#[must_use]
pub(crate) struct Over<O> {
    cell: Cell,
    done: Completion,
    token: Token,
    op: PhantomData<O>,
}

impl<O: Op> Over<O> {
    /// The operation, its result, and its slot, which is free now.
    #[inline]
    pub(crate) fn open(self) -> (O, Done<O>, SlotKey) {
        // SAFETY: [cell-typed] `Table::take` is called with the `O` of the future, and retired the slot, so it
        // is taken once; [loan-pinned] `Ready` meant that the last completion has come.
        let op = unsafe { self.cell.take::<O>() };
        (op, Done::new(self.done, None), SlotKey::of(self.token))
    }
}

/// What became of a completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Applied {
    Known,
    /// Known, and too many items wait: the operation has to pause.
    Pause,
    /// Its operation is long gone.
    Stale,
}

/// What one who waits gets.
pub(crate) enum Taken<T> {
    Ready(T),
    Pending,
    /// Pending, and the waker on file is another one.
    Register,
}

/// What dropping a future leads to.
#[must_use]
pub(crate) enum Dropped {
    /// The table goes on holding the operation.
    Kept,
    /// As `Kept`; ask the kernel to end it.
    Cancel,
    /// It leaves now.
    Parts(Parting),
}

impl Table {
    /// The table of the driver of this number.
    pub(crate) fn new(driver: u32) -> Self {
        Self { driver, ..Self::default() }
    }

    /// Moves an operation in; it is `Queued`.
    #[inline]
    pub(crate) fn insert<O: Op>(&mut self, op: O) -> Token {
        self.insert_erased(op, Contract::of::<O>())
    }

    /// Moves a multishot in; it is `Queued`.
    pub(crate) fn insert_multi<O: MultiOp>(&mut self, op: O) -> Token {
        self.insert_erased(op, Contract::of_multi::<O>())
    }

    #[inline]
    fn insert_erased<T: 'static>(&mut self, op: T, contract: &'static Contract) -> Token {
        let (token, slot) = self.slots.claim(contract);
        slot.cell.put(op);
        token
    }

    /// Erases the life of the loan of an operation that waits in user space, and offers it. `None` if it is gone.
    #[inline]
    pub(crate) fn hand_over(
        &mut self,
        token: Token,
        offer: impl FnOnce(Lent) -> Submitted,
    ) -> Option<Submitted> {
        let slot = self.slots.get_mut(token).filter(|slot| slot.state.is_in_user_space())?;
        // SAFETY: [cell-typed] the slot paired contract and cell in `insert_erased`; [loan-pinned] the slot waits
        // in user space, so nothing else reaches the cell until the kernel refused it or its last completion came.
        let lent = unsafe { slot.contract.lend(slot.cell) };
        let group = lent.request().group();
        assert!(group.is_none_or(|group| group.driver() == self.driver), "a buffer group of another driver");
        slot.picks = Picks::of(lent.request());
        #[cfg(feature = "mutants")]
        mutants::lend(self.driver, token, lent.request());
        let submitted = offer(lent);
        if submitted == Submitted::Accepted {
            let (next, action) = step(slot.state, Event::Accepted);
            debug_assert_eq!(action, Action::Nothing);
            slot.state = next.expect("accepted operations stay");
            self.lent += 1;
        }
        Some(submitted)
    }

    /// The group whose buffers this operation's completions bring.
    pub(crate) fn group_of(&self, token: Token) -> Option<(u16, bool)> {
        self.slots.get(token)?.picks.group()
    }

    /// Asks for the memory that a completion of this token will touch.
    #[inline]
    pub(crate) fn foresee(&self, token: Token) {
        prefetch(self.slots.place_of(token));
    }

    /// Takes one completion in; what it leads to goes to `later`.
    #[inline]
    pub(crate) fn complete(&mut self, token: Token, done: Completion, later: &mut Later) -> Applied {
        let Some(slot) = self.slots.get_mut(token) else { return Applied::Stale };
        let event = match (done.has_more(), slot.contract.is_multishot) {
            (true, true) => Event::Item,
            (true, false) => Event::EarlyResult,
            (false, _) => Event::Last,
        };
        let was_lent = !slot.state.is_in_user_space();
        let (next, action) = step(slot.state, event);
        if event == Event::Last && was_lent {
            self.lent -= 1;
            #[cfg(feature = "mutants")]
            mutants::over(self.driver, token);
        }
        let mut applied = Applied::Known;
        match action {
            Action::DeliverAndWake => {
                slot.results.push(done);
                // Needed as soon as the batch is applied, and often no longer in the cache. A multishot stays.
                if event == Event::Last {
                    prefetch(slot.cell.start());
                }
                if let Some(waker) = slot.waker.take() {
                    prefetch(waker.data());
                    later.wakes.push(waker);
                }
                // Exactly at the limit, so that one cancel is sent and not one per item.
                if event == Event::Item && slot.results.len() == slot.contract.items_max {
                    applied = Applied::Pause;
                }
            }
            Action::Keep => slot.results.push(done),
            // The result was kept; this completion only says that the memory is back.
            Action::Wake => later.wakes.extend(slot.waker.take()),
            Action::DisposeItem => {
                let group = group_id(slot, self.driver);
                let farewell = Farewell::Item(done);
                later.partings.push(Parting {
                    contract: slot.contract,
                    cell: slot.cell,
                    token,
                    group,
                    farewell,
                });
            }
            Action::DisposeAndRelease => {
                // A kept early result is the result, as for one who waits; what is behind it owns nothing.
                if slot.contract.is_multishot || slot.results.len() == 0 {
                    slot.results.push(done);
                }
                later.partings.push(self.part(token));
                return applied;
            }
            Action::Nothing
            | Action::PopItem
            | Action::ReleaseToCaller
            | Action::ReleaseUnsent
            | Action::RequestCancel => unreachable!("{action:?} answers no completion"),
        }
        slot.state = next.expect("the slot stays");
        applied
    }

    /// Hands out operation and result, once. The caller files its waker if asked to.
    #[inline]
    pub(crate) fn take<O: Op>(&mut self, token: Token, waker: &Waker) -> Taken<Over<O>> {
        let slot = self.slots.get_mut(token).expect("[token-unique] the future holds the slot");
        if slot.state != State::Ready {
            return pending(slot, waker);
        }
        let (next, action) = step(slot.state, Event::Taken);
        debug_assert!(next.is_none() && action == Action::ReleaseToCaller);
        let done = slot.results.pop().expect("ready means a result");
        debug_assert!(slot.waker.is_none(), "the last completion took it");
        let cell = self.slots.retire(token).cell;
        Taken::Ready(Over { cell, done, token, op: PhantomData })
    }

    /// Takes the result of an operation whose type is forgotten; the operation itself parts.
    pub(crate) fn take_detached(&mut self, token: Token, waker: &Waker) -> Taken<(Completion, Parting)> {
        let slot = self.slots.get_mut(token).expect("[token-unique] the future holds the slot");
        if slot.state != State::Ready {
            return pending(slot, waker);
        }
        let (next, action) = step(slot.state, Event::Taken);
        debug_assert!(next.is_none() && action == Action::ReleaseToCaller);
        let done = slot.results.pop().expect("ready means a result");
        slot.results.push(done);
        Taken::Ready((done, self.part(token)))
    }

    /// Hands out the next completion of a multishot; an error once it is over, and the slot is retired.
    #[inline]
    pub(crate) fn take_done<O: MultiOp>(
        &mut self,
        token: Token,
        waker: &Waker,
    ) -> Taken<Result<Done<O>, Parting>> {
        let slot = self.slots.get_mut(token).expect("[token-unique] the stream holds the slot");
        if let Some(done) = slot.results.pop() {
            debug_assert!(
                slot.state == State::Ready
                    || step(slot.state, Event::Taken) == (Some(slot.state), Action::PopItem)
            );
            return Taken::Ready(Ok(Done::new(done, group_id(slot, self.driver))));
        }
        if slot.state == State::Ready {
            return Taken::Ready(Err(self.part(token)));
        }
        pending(slot, waker)
    }

    /// As [`Self::take_done`], turned into an item by the operation itself.
    pub(crate) fn take_item<O: MultiOp>(
        &mut self,
        token: Token,
        waker: &Waker,
    ) -> Taken<Result<O::Item, Parting>> {
        let done = match self.take_done::<O>(token, waker) {
            Taken::Ready(Ok(done)) => done,
            Taken::Ready(Err(parting)) => return Taken::Ready(Err(parting)),
            Taken::Pending => return Taken::Pending,
            Taken::Register => return Taken::Register,
        };
        let slot = self.slots.get_mut(token).expect("[token-unique] the stream holds the slot");
        // SAFETY: [cell-typed] `OpStream<O>` is made with the token of an `O` only.
        let op = unsafe { slot.cell.address::<O>() };
        // SAFETY: [loan-pinned] a multishot lends descriptors only, so a shared borrow meets no writer.
        let op = unsafe { &*op };
        Taken::Ready(Ok(op.item(done)))
    }

    /// The future is gone.
    pub(crate) fn drop_future(&mut self, token: Token) -> (Dropped, Option<Waker>) {
        let slot = self.slots.get_mut(token).expect("[token-unique] the future holds the slot");
        let waker = slot.waker.take();
        #[cfg(feature = "mutants")]
        if mutants::is("free-on-drop") {
            mutants::free(self.driver, token);
        }
        let event = match slot.contract.on_drop {
            OnDrop::Cancel => Event::Dropped,
            OnDrop::LetRun => Event::Left,
        };
        let (next, action) = step(slot.state, event);
        let dropped = match action {
            Action::ReleaseUnsent | Action::DisposeAndRelease => Dropped::Parts(self.part(token)),
            Action::RequestCancel => {
                slot.state = next.expect("orphans stay");
                // Items that nobody took leave with the last completion, in order.
                Dropped::Cancel
            }
            Action::Nothing => {
                slot.state = next.expect("orphans stay");
                Dropped::Kept
            }
            Action::DeliverAndWake
            | Action::Keep
            | Action::Wake
            | Action::PopItem
            | Action::ReleaseToCaller
            | Action::DisposeItem => unreachable!("{action:?} answers no drop"),
        };
        (dropped, waker)
    }

    /// Files the waker of the one who waits; gives the old one back, to be dropped outside.
    pub(crate) fn register(&mut self, token: Token, waker: Waker) -> Option<Waker> {
        let slot = self.slots.get_mut(token).expect("[token-unique] the future holds the slot");
        slot.waker.replace(waker)
    }

    /// Takes back the slot of an operation that parted.
    pub(crate) fn give_back(&mut self, slot: SlotKey) {
        self.slots.free(slot);
    }

    /// Every operation the kernel has, and whether it wants to run to its end.
    pub(crate) fn lent_tokens(&self) -> impl Iterator<Item = (Token, OnDrop)> {
        let lent = |slot: &Slot| matches!(slot.state, State::InFlight | State::Settling | State::Orphaned);
        self.slots
            .iter()
            .filter(move |(_, slot)| lent(slot))
            .map(|(token, slot)| (token, slot.contract.on_drop))
    }

    /// True if this operation waits in user space.
    pub(crate) fn is_queued(&self, token: Token) -> bool {
        self.slots.get(token).is_some_and(|slot| slot.state.is_in_user_space())
    }

    /// True if it waits there, and is going to be sent although nobody waits for it.
    pub(crate) fn is_unattended(&self, token: Token) -> bool {
        self.slots.get(token).is_some_and(|slot| slot.state == State::Unattended)
    }

    /// True if the kernel has this operation.
    pub(crate) fn is_lent(&self, token: Token) -> bool {
        self.slots.get(token).is_some_and(|slot| !slot.state.is_in_user_space() && slot.state != State::Ready)
    }

    fn part(&mut self, token: Token) -> Parting {
        let slot = self.slots.retire(token);
        let results = std::mem::take(&mut slot.results);
        let farewell = if slot.state == State::Queued { Farewell::Unsent } else { Farewell::Over(results) };
        let group = group_id(slot, self.driver);
        Parting { contract: slot.contract, cell: slot.cell, token, group, farewell }
    }
}

fn group_id(slot: &Slot, driver: u32) -> Option<GroupId> {
    slot.picks.group().map(|(number, _)| GroupId::new(number, driver))
}

fn pending<T>(slot: &Slot, waker: &Waker) -> Taken<T> {
    match &slot.waker {
        Some(filed) if filed.will_wake(waker) => Taken::Pending,
        _ => Taken::Register,
    }
}
