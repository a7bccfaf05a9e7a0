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
use crate::lifecycle::parting::{Farewell, Parting};
use crate::lifecycle::prefetch::prefetch;
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
    /// The result of an operation that goes on lending its memory.
    Early,
    /// That memory is back. What the result says of it.
    Back(Completion),
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

    /// True if as many items wait as may, and it has been asked to pause.
    #[inline]
    pub(crate) fn is_pausing(&self, token: Token) -> bool {
        self.slots.get(token).is_some_and(|slot| slot.results.len() >= slot.contract.items_max)
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
            Action::KeepAndWake | Action::Keep => {
                later.wakes.extend(slot.waker.take());
                slot.results.push(done);
                slot.state = next.expect("the memory is not back");
                self.keep(token, done.result, later);
                return Applied::Early;
            }
            Action::Wake => {
                later.wakes.extend(slot.waker.take());
                applied = settle(slot, done);
            }
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
                } else {
                    applied = settle(slot, done);
                }
                later.partings.push(self.part(token));
                return applied;
            }
            Action::Nothing
            | Action::PopItem
            | Action::ReleaseToCaller
            | Action::ReleaseUnsent
            | Action::TellAndLeave
            | Action::Tell
            | Action::RequestCancel => unreachable!("{action:?} answers no completion"),
        }
        slot.state = next.expect("the slot stays");
        applied
    }

    /// An operation goes on lending its memory, and no descriptor: unless it failed, so that the memory is back soon.
    #[cold]
    fn keep(&mut self, token: Token, result: i32, later: &mut Later) {
        let slot = self.slots.get_mut(token).expect("[token-unique] found just now");
        #[cfg(feature = "mutants")]
        if mutants::is("zero-copy-early") {
            mutants::free(self.driver, token);
        }
        if result < 0 {
            return;
        }
        // SAFETY: [cell-typed] the slot paired contract and cell; [loan-pinned] the backend vouches that an early
        // result is one of memory that is only read, and the table is borrowed until this returns.
        let fd = unsafe { slot.contract.give_up_descriptor(slot.cell) };
        if let Some(fd) = fd {
            let (contract, cell) = (slot.contract, slot.cell);
            let farewell = Farewell::Descriptor(fd);
            later.partings.push(Parting { contract, cell, token, group: None, farewell });
        }
    }

    /// Notes when the early result of an operation came, in microseconds that wrap.
    #[cold]
    pub(crate) fn stamp(&mut self, token: Token, micros: u32) {
        let slot = self.slots.get_mut(token).expect("[token-unique] found just now");
        slot.results.oldest().expect("its result was kept").offset = micros;
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

    /// Takes the result of an operation whose type is forgotten; the operation itself parts, now or when its
    /// memory is back.
    pub(crate) fn take_detached(
        &mut self,
        token: Token,
        waker: &Waker,
    ) -> Taken<(Completion, Option<Parting>)> {
        let slot = self.slots.get_mut(token).expect("[token-unique] the future holds the slot");
        if !has_result(slot) {
            return pending(slot, waker);
        }
        let (next, action) = step(slot.state, Event::Taken);
        let done = *slot.results.oldest().expect("it was kept");
        let Some(next) = next else {
            debug_assert_eq!(action, Action::ReleaseToCaller);
            return Taken::Ready((done, Some(self.part(token))));
        };
        debug_assert_eq!(action, Action::TellAndLeave);
        slot.state = next;
        Taken::Ready((done, None))
    }

    /// Shows the result of an operation, whose memory may not be back.
    pub(crate) fn look(&mut self, token: Token, waker: &Waker) -> Taken<Completion> {
        let slot = self.slots.get_mut(token).expect("[token-unique] the future holds the slot");
        if !has_result(slot) {
            return pending(slot, waker);
        }
        let (next, action) = step(slot.state, Event::Looked);
        debug_assert!(next == Some(slot.state) && action == Action::Tell);
        Taken::Ready(*slot.results.oldest().expect("it was kept"))
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
            | Action::KeepAndWake
            | Action::Keep
            | Action::Wake
            | Action::TellAndLeave
            | Action::Tell
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

/// True if an operation with one result has it.
fn has_result(slot: &Slot) -> bool {
    matches!(slot.state, State::Ready | State::Settling)
}

/// Adds to a kept result that its memory is back.
#[cold]
fn settle(slot: &mut Slot, notification: Completion) -> Applied {
    let kept = slot.results.oldest().expect("a result comes before its notification");
    *kept = kept.settled_by(notification);
    Applied::Back(*kept)
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
