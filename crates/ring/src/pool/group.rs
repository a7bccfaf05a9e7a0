//! The bookkeeping of one group: which buffer is where, and who waits for one.
//!
//! The kernel takes buffers in ring order and reports the first of each batch. So
//! the group keeps a mirror of the ring, and learns of every completion in the order
//! of the completion queue, whether or not anybody waits for it. How many buffers there are
//! is decided in `size.rs`, and carried out here.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::Future;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use crate::completion::{Completion, Done};
use crate::pool::lease::SparePieces;
use crate::pool::memory::ENTRIES_MAX;
use crate::pool::reserve::Reserve;
use crate::pool::size::{self, Change, Cost, Home, PERIOD, Ring, Seen, Stock};
use crate::pool::{GroupId, GroupMemory, Lease, Received};

/// How a group is laid out.
#[derive(Clone, Copy, Debug)]
pub struct GroupConfig {
    /// Buffers at first, and whenever more are not needed; rounded up to a power of two, at most 32,768.
    pub buffers: u16,
    /// As many it may become while they are needed, rounded likewise. As many as `buffers`, and its size is fixed.
    pub buffers_max: u16,
    /// Bytes of each.
    pub buffer_bytes: u32,
    /// Let one buffer serve many receives, one behind the other. Kernel 6.12.
    pub incremental: bool,
}

/// A group of buffers that the kernel picks from. Cheap to clone.
#[derive(Clone)]
pub struct Group {
    pub(crate) state: Rc<GroupState>,
}

impl Group {
    /// The name by which requests refer to it.
    pub fn id(&self) -> GroupId {
        self.state.id
    }

    /// Turns a completion into the bytes that came with it.
    ///
    /// # Panics
    /// If the operation picks from another group.
    #[inline]
    pub fn receive<O>(&self, done: Done<O>) -> Received {
        assert!(done.group().is_none_or(|group| group == self.id()), "a buffer of another group");
        Received::new(self, *done)
    }

    /// As [`Self::receive`], as one lease; the completion itself if it fills several buffers.
    ///
    /// # Errors
    /// None: what does not fit one lease comes back.
    ///
    /// # Panics
    /// If the operation picks from another group.
    #[inline]
    pub fn receive_whole<O>(&self, done: Done<O>) -> Result<Lease, Done<O>> {
        assert!(done.group().is_none_or(|group| group == self.id()), "a buffer of another group");
        Received::whole(self, *done).ok_or(done)
    }

    /// Buffers that the kernel can pick now.
    #[inline]
    pub fn available(&self) -> usize {
        self.state.available()
    }

    /// True while it has more buffers than at first.
    #[inline]
    pub fn is_grown(&self) -> bool {
        self.state.reserve.used.get() > self.state.reserve.base
    }

    /// True if it can have more buffers than it has now, should the program hold these.
    pub fn can_grow(&self) -> bool {
        !matches!(self.state.stock(), Stock::Exhausted)
    }

    /// Bytes of one buffer, and so of one lease at the most.
    pub fn buffer_bytes(&self) -> u32 {
        self.state.memory.buffer_bytes()
    }

    /// Bytes of the buffers that it has: with the kernel, with the program, or kept for the next burst.
    pub fn bytes(&self) -> u64 {
        u64::from(self.state.reserve.used.get()) * u64::from(self.state.memory.buffer_bytes())
    }

    /// Buffers that were added to those at first, so far.
    pub fn grown(&self) -> u64 {
        self.state.reserve.grown.get()
    }

    /// Buffers whose memory was given back to the system, so far.
    pub fn shrunk(&self) -> u64 {
        self.state.reserve.shrunk.get()
    }

    /// Buffers that the program holds now.
    pub fn leased(&self) -> usize {
        self.state.buffers.iter().filter(|buffer| buffer.leases.get() > 0).count()
    }

    /// Waits until the kernel can pick a buffer.
    ///
    /// # Cancellation
    /// Safe: a wake-up that the dropped future did not use goes to the next one.
    pub fn room(&self) -> Room {
        Room { group: self.clone(), ticket: None }
    }
}

impl std::fmt::Debug for Group {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Group").field("id", &self.id()).field("available", &self.available()).finish()
    }
}

/// One buffer, as this side sees it.
#[derive(Default)]
struct Buffer {
    /// Leases, and completions that are not leases yet.
    leases: Cell<u32>,
    /// It lies in the ring, or the kernel goes on filling it.
    with_kernel: Cell<bool>,
    /// Bytes that the kernel has reported since it lay in the ring empty.
    filled: Cell<u32>,
    /// The one behind it in the same bundle.
    next: Cell<u16>,
}

pub(crate) struct GroupState {
    id: GroupId,
    incremental: bool,
    pub(crate) memory: GroupMemory,
    buffers: Box<[Buffer]>,
    /// Which buffer lies at each ring position.
    mirror: Box<[Cell<u16>]>,
    /// First position that the kernel has not reported as taken; free-running.
    head: Cell<u16>,
    /// First position that is ours to write; free-running.
    tail: Cell<u16>,
    reserve: Reserve,
    waiters: RefCell<Waiters>,
    pub(crate) spare_pieces: SparePieces,
}

#[derive(Default)]
struct Waiters {
    queue: VecDeque<(u64, Waker)>,
    tickets: u64,
}

impl GroupState {
    pub(crate) fn new(id: GroupId, config: GroupConfig) -> io::Result<Self> {
        let GroupConfig { buffers, buffers_max, buffer_bytes, .. } = config;
        if buffers == 0 || buffers_max < buffers || buffers_max > ENTRIES_MAX || buffer_bytes == 0 {
            return Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!(
                    "a group needs 1 to {ENTRIES_MAX} buffers of at least one byte, at most no fewer than at \
                     first, not {config:?}"
                ),
            ));
        }
        let (base, entries) = (buffers.next_power_of_two(), buffers_max.next_power_of_two());
        let state = Self {
            id,
            incremental: config.incremental,
            memory: GroupMemory::new(entries, buffer_bytes)?,
            buffers: (0..entries).map(|_| Buffer::default()).collect(),
            mirror: (0..entries).map(Cell::new).collect(),
            head: Cell::new(0),
            tail: Cell::new(0),
            reserve: Reserve::new(base, entries, buffer_bytes),
            waiters: RefCell::default(),
            spare_pieces: SparePieces::default(),
        };
        for buffer in 0..base {
            state.put_into_ring(buffer);
        }
        state.memory.publish(state.tail.get());
        Ok(state)
    }

    pub(crate) fn is_incremental(&self) -> bool {
        self.incremental
    }

    fn available(&self) -> usize {
        usize::from(self.in_ring())
    }

    #[inline]
    fn in_ring(&self) -> u16 {
        self.tail.get().wrapping_sub(self.head.get())
    }

    /// Notes what one completion took. In the order of the completion queue.
    #[inline]
    pub(crate) fn arrive(&self, done: &mut Completion, bundle: bool) {
        let Some(first) = done.buffer() else { return };
        let bytes = u32::try_from(done.result).unwrap_or(0);
        assert!(
            usize::from(first) < self.buffers.len(),
            "the kernel picked buffer {first} of {}",
            self.buffers.len()
        );
        let buffer = &self.buffers[usize::from(first)];
        if self.incremental {
            done.offset = buffer.filled.get();
            buffer.filled.set(done.offset + bytes);
            assert!(buffer.filled.get() <= self.memory.buffer_bytes(), "more bytes than the buffer has");
            buffer.leases.set(buffer.leases.get() + 1);
            if !done.buffer_goes_on() {
                self.take_from_ring(first);
            }
            return;
        }
        let size = self.memory.buffer_bytes();
        assert!(bundle || bytes <= size, "{bytes} bytes in a buffer of {size}");
        let count = if bundle { bytes.div_ceil(size).max(1) } else { 1 };
        self.take_from_ring(first);
        buffer.leases.set(1);
        buffer.filled.set(bytes.min(size));
        let (mut previous, mut left) = (buffer, bytes);
        for _ in 1..count {
            let next = self.mirror[self.index(self.head.get())].get();
            self.take_from_ring(next);
            previous.next.set(next);
            previous = &self.buffers[usize::from(next)];
            previous.leases.set(1);
            left -= size;
            previous.filled.set(left.min(size));
        }
    }

    /// The kernel took buffers for somebody who reads: at the end of the turn there are to be some again.
    #[inline]
    pub(crate) fn was_picked_from(&self) {
        self.reserve.was_used.set(true);
        self.reserve.misses.set(0);
    }

    /// The program had its turn, and the kernel picks next: sees to it that a receive finds a buffer. `wakes` gets
    /// who waited for one.
    #[inline]
    pub(crate) fn see_to_the_ring(&self, wakes: &mut Vec<Waker>) {
        if self.reserve.was_used.replace(false) && self.fill() == Ring::Low {
            self.refill(wakes);
        }
    }

    #[cold]
    fn refill(&self, wakes: &mut Vec<Waker>) {
        while self.add(Seen::Held) {
            let next = self.waiters.borrow_mut().queue.pop_front();
            wakes.extend(next.map(|(_, waker)| waker));
        }
        self.memory.publish(self.tail.get());
    }

    #[inline]
    fn fill(&self) -> Ring {
        size::ring(self.in_ring(), self.reserve.depth.get())
    }

    /// A receive found no buffer.
    #[cold]
    pub(crate) fn ran_dry(&self) {
        let Reserve { depth, usual, was_used, was_dry, misses, .. } = &self.reserve;
        misses.set(misses.get().saturating_add(1));
        let cost = size::cost(depth.get(), usual.get(), misses.get());
        was_used.set(true);
        was_dry.set(was_dry.get() || cost == Cost::Little && self.fill() != Ring::Full);
        self.set_depth(Seen::Dry(cost));
        // Nobody waits for room then: who does is woken at the end of the turn, or by what comes home.
        if self.add(Seen::Dry(cost)) {
            self.memory.publish(self.tail.get());
        }
    }

    fn set_depth(&self, seen: Seen) {
        let Reserve { base, depth, .. } = &self.reserve;
        depth.set(size::depth(depth.get(), *base, self.memory.entries(), seen, self.fill()));
    }

    /// Adds one to the ring if that should be done about what was `seen`; true if it did.
    fn add(&self, seen: Seen) -> bool {
        let buffer = match size::change(seen, self.fill(), self.stock()) {
            Change::TakeUp => self.reserve.take_up(),
            Change::Grow => self.reserve.grow(),
            Change::Keep | Change::Shrink => return false,
        };
        self.put_into_ring(buffer);
        true
    }

    fn stock(&self) -> Stock {
        if !self.reserve.aside.borrow().is_empty() {
            Stock::Aside
        } else if self.reserve.used.get() < self.memory.entries() {
            Stock::Growable
        } else {
            Stock::Exhausted
        }
    }

    /// True if there is something that may have to be given back in a while.
    #[inline]
    pub(crate) fn has_surplus(&self) -> bool {
        let Reserve { base, depth, used, aside, .. } = &self.reserve;
        depth.get() > *base || used.get() > *base && !aside.borrow().is_empty()
    }

    /// Gives back what was not needed for a period; how long until the next look.
    pub(crate) fn tend(&self, now: Duration) -> Option<Duration> {
        let reserve = &self.reserve;
        let left = reserve.since.get().map_or(PERIOD, |since| (since + PERIOD).saturating_sub(now));
        if reserve.since.get().is_some() && !left.is_zero() {
            return Some(left);
        }
        if reserve.since.get().is_some() && !reserve.was_dry.get() {
            self.set_depth(Seen::Rested);
            if size::change(Seen::Rested, self.fill(), self.stock()) == Change::Shrink {
                reserve.shrink(|buffer| self.memory.discard(buffer));
            }
        }
        reserve.was_dry.set(false);
        reserve.aside_min.set(reserve.aside.borrow().len());
        reserve.since.set(self.has_surplus().then_some(now));
        reserve.since.get().map(|_| PERIOD)
    }

    /// The kernel is done picking `buffer`, which is normally the one at the head.
    #[inline]
    fn take_from_ring(&self, buffer: u16) {
        assert!(self.available() > 0, "the kernel picked from an empty group");
        let head = self.head.get();
        // Requests that the kernel retried on a worker may report out of order: move the
        // ones before it up, so that the mirror stays the ring without this buffer.
        let mut position = head;
        while self.mirror[self.index(position)].get() != buffer {
            position = position.wrapping_add(1);
            assert!(
                position != self.tail.get(),
                "the kernel picked buffer {buffer}, which the program holds"
            );
        }
        while position != head {
            let before = position.wrapping_sub(1);
            self.mirror[self.index(position)].set(self.mirror[self.index(before)].get());
            position = before;
        }
        self.head.set(head.wrapping_add(1));
        self.buffers[usize::from(buffer)].with_kernel.set(false);
    }

    fn put_into_ring(&self, buffer: u16) {
        let tail = self.tail.get();
        debug_assert!(self.available() < self.buffers.len());
        self.memory.write_entry(tail, buffer);
        self.mirror[self.index(tail)].set(buffer);
        self.buffers[usize::from(buffer)].with_kernel.set(true);
        self.tail.set(tail.wrapping_add(1));
    }

    #[inline]
    fn index(&self, position: u16) -> usize {
        usize::from(position) & (self.mirror.len() - 1)
    }

    /// One more lease of a buffer that is leased.
    pub(crate) fn share(&self, buffer: u16) {
        let leases = &self.buffers[usize::from(buffer)].leases;
        assert!(leases.get() > 0, "buffer {buffer} is not held");
        leases.set(leases.get().checked_add(1).expect("fewer than 2^32 leases of one buffer"));
    }

    /// One lease less; the last one returns the buffer to the ring.
    #[inline]
    pub(crate) fn give_back(&self, buffer: u16) {
        let held = &self.buffers[usize::from(buffer)];
        assert!(held.leases.get() > 0, "buffer {buffer} was given back twice");
        held.leases.set(held.leases.get() - 1);
        if held.leases.get() == 0 && !held.with_kernel.get() {
            let usual = &self.reserve.usual;
            usual.set(size::usual(usual.get(), held.filled.replace(0)));
            match size::home(self.fill()) {
                Home::IntoTheRing => {
                    self.put_into_ring(buffer);
                    self.memory.publish(self.tail.get());
                    let next = self.waiters.borrow_mut().queue.pop_front();
                    if let Some((_, waker)) = next {
                        waker.wake();
                    }
                }
                // Nobody waits for room: there is some.
                Home::Aside => self.reserve.aside.borrow_mut().push(buffer),
            }
        }
    }

    /// Bytes of the group that a lease of `len` bytes keeps from others. Leases of one incremental buffer share
    /// it, and still one small lease keeps all of it.
    pub(crate) fn kept_by(&self, len: u32) -> u32 {
        let whole = self.memory.buffer_bytes();
        if self.incremental { len.max(whole / 16) } else { whole }
    }

    /// The buffer behind `buffer` in its bundle.
    pub(crate) fn next_in_bundle(&self, buffer: u16) -> u16 {
        self.buffers[usize::from(buffer)].next.get()
    }
}

/// Waits until the kernel can pick a buffer. See [`Group::room`].
#[derive(Debug)]
pub struct Room {
    group: Group,
    ticket: Option<u64>,
}

impl Future for Room {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.group.available() > 0 {
            self.leave();
            return Poll::Ready(());
        }
        let group = self.group.clone();
        let mut waiters = group.state.waiters.borrow_mut();
        let queued =
            self.ticket.and_then(|ticket| waiters.queue.iter_mut().find(|(queued, _)| *queued == ticket));
        let replaced = if let Some((_, waker)) = queued {
            Some(std::mem::replace(waker, cx.waker().clone()))
        } else {
            let ticket = waiters.tickets;
            waiters.tickets += 1;
            waiters.queue.push_back((ticket, cx.waker().clone()));
            self.ticket = Some(ticket);
            None
        };
        drop(waiters);
        drop(replaced);
        Poll::Pending
    }
}

impl Room {
    /// Leaves the queue, and says whether it was still in it.
    fn leave(&mut self) -> bool {
        let Some(ticket) = self.ticket.take() else { return true };
        let mut waiters = self.group.state.waiters.borrow_mut();
        let place = waiters.queue.iter().position(|(queued, _)| *queued == ticket);
        let removed = place.and_then(|place| waiters.queue.remove(place));
        drop(waiters);
        removed.is_some()
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        // Woken, but never polled again: the next one gets the chance.
        if !self.leave() {
            let next = self.group.state.waiters.borrow_mut().queue.pop_front();
            if let Some((_, waker)) = next {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests;
