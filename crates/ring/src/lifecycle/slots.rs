//! The slots of the table: who has which, and what a token of the past finds.
//!
//! A slot stays where it is and is written in place, field by field: building one
//! elsewhere and copying it in measured about 10 ns slower, because the processor cannot forward
//! narrow stores to a wide load. The free list is a slab of nothing.

use slab::Slab;
use std::task::Waker;

use crate::lifecycle::cell::{Cell, Cells};
use crate::lifecycle::contract::Contract;
use crate::lifecycle::results::Results;
use crate::lifecycle::state::State;
use crate::request::Request;
use crate::token::Token;

/// One operation, on a cache line of its own. While the slot is free, `results` and `waker` are empty.
#[repr(align(64))]
pub(super) struct Slot {
    pub(super) state: State,
    /// Zero, which no token has, while nobody may find it.
    generation: u32,
    pub(super) picks: Picks,
    pub(super) contract: &'static Contract,
    pub(super) cell: Cell,
    pub(super) results: Results,
    pub(super) waker: Option<Waker>,
}

const _: () = assert!(size_of::<Slot>() == 64);

/// Where kernel-picked buffers come from. Small, so that a slot is a cache line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Picks(u16);

impl Picks {
    const NONE: u16 = u16::MAX;
    const BUNDLE: u16 = 1 << 15;

    /// What this request says about kernel-picked buffers.
    pub(super) fn of(request: &Request<'_>) -> Self {
        let Some(group) = request.group() else { return Self(Self::NONE) };
        assert!(group.to_raw() < Self::BUNDLE - 1, "fewer than 2^15 groups");
        Self(group.to_raw() | if request.is_bundle() { Self::BUNDLE } else { 0 })
    }

    /// The number of the group, and whether its buffers may come in bundles.
    pub(super) fn group(self) -> Option<(u16, bool)> {
        (self.0 != Self::NONE).then_some((self.0 & !Self::BUNDLE, self.0 & Self::BUNDLE != 0))
    }
}

impl Slot {
    /// A retired slot answers to nobody, whatever a foreign ring may have posted here.
    #[inline]
    fn answers_to(&self, token: Token) -> bool {
        self.generation == token.generation() && self.generation != 0
    }
}

#[derive(Default)]
pub(super) struct Slots {
    keys: Slab<()>,
    slots: Vec<Slot>,
    cells: Cells,
    generations: u32,
}

impl Slots {
    /// A free slot, `Queued`, and the token that finds it.
    #[inline]
    pub(super) fn claim(&mut self, contract: &'static Contract) -> (Token, &mut Slot) {
        let key = self.keys.insert(());
        if key == self.slots.len() {
            self.grow(contract);
        }
        self.generations = self.generations.wrapping_add(1).max(1);
        let generation = self.generations;
        #[cfg(feature = "mutants")]
        let generation = if crate::mutants::is("stale-routed") { 1 } else { generation };
        let slot = &mut self.slots[key];
        debug_assert!(slot.generation == 0 && slot.waker.is_none() && slot.results.len() == 0);
        slot.state = State::Queued;
        slot.generation = generation;
        slot.picks = Picks(Picks::NONE);
        slot.contract = contract;
        (Token::new(key as u32, generation), slot)
    }

    #[cold]
    fn grow(&mut self, contract: &'static Contract) {
        let number = self.slots.len();
        assert!(u32::try_from(number).is_ok_and(|number| number < u32::MAX), "fewer than 2^32 operations");
        self.slots.push(Slot {
            state: State::Queued,
            generation: 0,
            picks: Picks(Picks::NONE),
            contract,
            cell: self.cells.at(number),
            results: Results::default(),
            waker: None,
        });
    }

    /// Where the slot of a token is, whoever has it; not to be read.
    #[inline]
    pub(super) fn place_of(&self, token: Token) -> *const () {
        self.slots.as_ptr().wrapping_add(token.slot() as usize).cast()
    }

    /// The slot of a token, unless its operation is gone.
    #[inline]
    pub(super) fn get(&self, token: Token) -> Option<&Slot> {
        self.slots.get(token.slot() as usize).filter(|slot| slot.answers_to(token))
    }

    /// The slot of a token, unless its operation is gone.
    #[inline]
    pub(super) fn get_mut(&mut self, token: Token) -> Option<&mut Slot> {
        self.slots.get_mut(token.slot() as usize).filter(|slot| slot.answers_to(token))
    }

    /// From now on no token finds it; its cell is still in use.
    #[inline]
    pub(super) fn retire(&mut self, token: Token) -> &mut Slot {
        let slot = self.get_mut(token).expect("[token-unique] found just now");
        slot.generation = 0;
        slot
    }

    /// A retired slot whose cell was emptied may be claimed.
    #[inline]
    pub(super) fn free(&mut self, key: SlotKey) {
        let SlotKey(key) = key;
        debug_assert_eq!(self.slots[key as usize].generation, 0, "retired before it is free");
        self.keys.remove(key as usize);
    }

    /// All that a token finds.
    pub(super) fn iter(&self) -> impl Iterator<Item = (Token, &Slot)> {
        let known = self.slots.iter().enumerate().filter(|(_, slot)| slot.generation != 0);
        known.map(|(key, slot)| (Token::new(key as u32, slot.generation), slot))
    }
}

/// Names a retired slot, once.
#[must_use]
pub(crate) struct SlotKey(u32);

impl SlotKey {
    pub(super) fn of(token: Token) -> Self {
        Self(token.slot())
    }
}
