//! A hierarchical timing wheel: insert and remove in constant time, without allocating.
//!
//! Eleven levels of 64 slots cover the whole clock. A timer goes to the level of the highest
//! six bits in which its tick differs from the present; when the present reaches its slot, it
//! moves to a lower level, and from the lowest it fires. Entries live in a slab and are
//! linked by index, so this file needs no unsafe code, and a slot keeps the order of insertion.

use std::task::Waker;

use slab::Slab;

use crate::clock::Instant;

const LEVEL_BITS: u32 = 6;
const SLOTS: usize = 1 << LEVEL_BITS;
/// 11 x 6 bits >= 64.
const LEVELS: usize = 11;
const NIL: u32 = u32::MAX;

/// Names an entry; it belongs to one `Sleep`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Key(u32);

pub(super) struct Wheel {
    /// A tick is 2^shift nanoseconds.
    shift: u32,
    /// All ticks up to this one have been dealt with.
    elapsed: u64,
    /// One bit per slot that is not empty.
    occupied: [u64; LEVELS],
    slots: Box<[[Ends; SLOTS]; LEVELS]>,
    entries: Slab<Entry>,
    armed: usize,
}

#[derive(Clone, Copy)]
struct Ends {
    first: u32,
    last: u32,
}

struct Entry {
    tick: u64,
    /// `None` once it has fired.
    waker: Option<Waker>,
    prev: u32,
    next: u32,
    level: u8,
    slot: u8,
}

const EMPTY: Ends = Ends { first: NIL, last: NIL };

impl Wheel {
    pub(super) fn new(now: Instant, shift: u32) -> Wheel {
        Wheel {
            shift,
            elapsed: now.as_nanos() >> shift,
            occupied: [0; LEVELS],
            slots: Box::new([[EMPTY; SLOTS]; LEVELS]),
            entries: Slab::new(),
            armed: 0,
        }
    }

    /// Timers that have not fired.
    #[inline]
    pub(super) fn alive(&self) -> usize {
        self.armed
    }

    /// Arms a timer. A deadline that has passed already fires at the next turn.
    #[inline]
    pub(super) fn insert(&mut self, deadline: Instant, waker: Waker) -> Key {
        // Rounded up: the end of the step that holds the deadline. Never early.
        let step = (1u64 << self.shift) - 1;
        let tick = (deadline.as_nanos().saturating_add(step) >> self.shift).max(self.elapsed + 1);
        let entry = Entry { tick, waker: Some(waker), prev: NIL, next: NIL, level: 0, slot: 0 };
        let index = self.entries.insert(entry);
        assert!(index < NIL as usize, "too many timers on one core");
        let index = index as u32;
        self.link(index, tick);
        self.armed += 1;
        Key(index)
    }

    /// Ends a timer; gives its waker back if it had not fired.
    #[inline]
    pub(super) fn remove(&mut self, key: Key) -> Option<Waker> {
        let entry = self.entries.remove(key.0 as usize);
        if entry.waker.is_some() {
            self.unlink(&entry);
            self.armed -= 1;
        }
        entry.waker
    }

    #[inline]
    pub(super) fn has_fired(&self, key: Key) -> bool {
        self.entries[key.0 as usize].waker.is_none()
    }

    pub(super) fn will_wake(&self, key: Key, waker: &Waker) -> bool {
        self.entries[key.0 as usize].waker.as_ref().is_some_and(|own| own.will_wake(waker))
    }

    /// Replaces the waker of a timer that has not fired.
    pub(super) fn replace_waker(&mut self, key: Key, waker: Waker) -> Option<Waker> {
        self.entries[key.0 as usize].waker.replace(waker)
    }

    /// When the wheel must be turned next: a deadline, or earlier, when a slot of a higher level
    /// must be spread over the lower ones.
    pub(super) fn next(&self) -> Option<Instant> {
        let (_, _, tick) = self.next_slot()?;
        Some(Instant::from_nanos(tick << self.shift))
    }

    /// Fires all timers whose deadline is `now` or earlier; their wakers go to `fired`.
    pub(super) fn turn(&mut self, now: Instant, fired: &mut Vec<Waker>) {
        let now = now.as_nanos() >> self.shift;
        while let Some((level, slot, tick)) = self.next_slot() {
            if tick > now {
                break;
            }
            assert!(tick >= self.elapsed, "the wheel never turns back");
            self.elapsed = tick;
            let mut index = self.slots[level][slot].first;
            self.slots[level][slot] = EMPTY;
            self.occupied[level] &= !(1 << slot);
            while index != NIL {
                let entry = &mut self.entries[index as usize];
                let next = entry.next;
                if level == 0 {
                    fired.extend(entry.waker.take());
                    self.armed -= 1;
                } else {
                    let tick = entry.tick;
                    self.link(index, tick);
                }
                index = next;
            }
        }
        self.elapsed = self.elapsed.max(now);
    }

    /// The slot that comes first, and the tick at which it begins.
    #[inline]
    fn next_slot(&self) -> Option<(usize, usize, u64)> {
        // All of a level comes before the next higher one: it is about the present's own slot there.
        let level = self.occupied.iter().position(|&slots| slots != 0)?;
        let shift = level as u32 * LEVEL_BITS;
        // Slots of the past are empty, so the lowest bit is the next one.
        let slot = self.occupied[level].trailing_zeros() as usize;
        let around = (self.elapsed >> shift) & !(SLOTS as u64 - 1);
        Some((level, slot, (around | slot as u64) << shift))
    }

    #[inline]
    fn link(&mut self, index: u32, tick: u64) {
        let difference = (self.elapsed ^ tick) | (SLOTS as u64 - 1);
        let level = (difference.ilog2() / LEVEL_BITS) as usize;
        let slot = (tick >> (level as u32 * LEVEL_BITS)) as usize % SLOTS;
        let ends = &mut self.slots[level][slot];
        let last = ends.last;
        ends.last = index;
        if last == NIL {
            ends.first = index;
            self.occupied[level] |= 1 << slot;
        } else {
            self.entries[last as usize].next = index;
        }
        let entry = &mut self.entries[index as usize];
        entry.level = level as u8;
        entry.slot = slot as u8;
        entry.prev = last;
        entry.next = NIL;
    }

    #[inline]
    fn unlink(&mut self, entry: &Entry) {
        let (level, slot) = (usize::from(entry.level), usize::from(entry.slot));
        if entry.prev == NIL {
            self.slots[level][slot].first = entry.next;
        } else {
            self.entries[entry.prev as usize].next = entry.next;
        }
        if entry.next == NIL {
            self.slots[level][slot].last = entry.prev;
        } else {
            self.entries[entry.next as usize].prev = entry.prev;
        }
        if self.slots[level][slot].first == NIL {
            self.occupied[level] &= !(1 << slot);
        }
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn at(ns: u64) -> Instant {
        Instant::from_nanos(ns)
    }

    fn wheel(shift: u32) -> Wheel {
        Wheel::new(at(0), shift)
    }

    /// A sequence that is the same in every run.
    fn sequence(seed: u64) -> impl Iterator<Item = u64> {
        let mut state = seed;
        std::iter::repeat_with(move || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            state >> 20
        })
    }

    /// The trap: a timer in a high level must fire at its tick, not at its slot's first one.
    #[test]
    fn every_timer_fires_at_the_first_turn_at_or_after_its_deadline_and_never_before() {
        for shift in [0, 17] {
            let mut wheel = wheel(shift);
            let mut numbers = sequence(7);
            let mut pending = Vec::new();
            let mut now = 0u64;
            for _ in 0..20_000 {
                let spread = 1u64 << (numbers.next().unwrap() % 44);
                let deadline = now + 1 + numbers.next().unwrap() % spread;
                let key = wheel.insert(at(deadline), Waker::noop().clone());
                pending.push((deadline, key));
                if numbers.next().unwrap().is_multiple_of(3) {
                    let index = numbers.next().unwrap() as usize % pending.len();
                    let (_, key) = pending.swap_remove(index);
                    assert!(wheel.remove(key).is_some());
                }
                now += numbers.next().unwrap() % (spread * 2);
                let mut fired = Vec::new();
                wheel.turn(at(now), &mut fired);
                let mut count = 0;
                pending.retain(|&(deadline, key)| {
                    let due = (deadline.div_ceil(1 << shift)) <= (now >> shift);
                    assert_eq!(wheel.has_fired(key), due, "deadline {deadline} at {now}");
                    if due {
                        count += 1;
                        wheel.remove(key);
                    }
                    !due
                });
                assert_eq!(fired.len(), count);
                assert_eq!(wheel.alive(), pending.len());
            }
        }
    }

    #[test]
    fn the_next_turn_is_never_later_than_the_earliest_deadline() {
        let mut wheel = wheel(0);
        for deadline in sequence(11).take(500) {
            wheel.insert(at(deadline + 1), Waker::noop().clone());
        }
        let earliest = sequence(11).take(500).min().unwrap() + 1;
        assert!(wheel.next().unwrap() <= at(earliest));
    }

    #[test]
    fn a_timer_at_the_end_of_time_can_be_armed_and_removed() {
        let mut wheel = wheel(0);
        let key = wheel.insert(Instant::FAR_FUTURE, Waker::noop().clone());
        assert!(wheel.next().is_some());
        assert!(wheel.remove(key).is_some());
        assert!(wheel.next().is_none());
    }

    #[test]
    fn removed_timers_give_their_memory_to_the_next_ones() {
        let mut wheel = wheel(17);
        for _ in 0..1000 {
            let key = wheel.insert(at(1 << 40), Waker::noop().clone());
            wheel.remove(key);
        }
        assert_eq!(wheel.entries.capacity(), wheel.entries.capacity().min(8));
    }
}
