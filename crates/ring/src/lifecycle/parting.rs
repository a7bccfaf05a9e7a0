//! What leaves the table, to be dropped when the table is free: dropping it may run user code, which may submit.
//!
//! When something leaves is the table's to decide.

#![allow(unsafe_code, reason = "drops operations whose type is forgotten")]

use crate::completion::Completion;
use crate::fd::SharedFd;
use crate::lifecycle::cell::Cell;
use crate::lifecycle::contract::Contract;
use crate::lifecycle::results::Results;
use crate::lifecycle::slots::SlotKey;
#[cfg(feature = "mutants")]
use crate::mutants;
use crate::pool::GroupId;
use crate::token::Token;

/// An operation that leaves the table, to be dropped when the table is free.
#[must_use]
pub(crate) struct Parting {
    pub(super) contract: &'static Contract,
    pub(super) cell: Cell,
    pub(super) token: Token,
    pub(super) group: Option<GroupId>,
    pub(super) farewell: Farewell,
}

/// What is left to say.
pub(super) enum Farewell {
    /// The kernel never saw it.
    Unsent,
    /// Its kept results, the last one behind the others.
    Over(Results),
    /// One item of a multishot that goes on.
    Item(Completion),
    /// The descriptor of an operation that only lends memory from here on.
    Descriptor(SharedFd),
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
            Self::Over(_) | Self::Item(_) | Self::Unsent | Self::Descriptor(_) => self,
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
            Farewell::Descriptor(fd) => {
                drop(fd);
                None
            }
        }
    }
}
