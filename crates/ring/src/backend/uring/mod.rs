//! io_uring: one ring, used by the one thread that made it.
//!
//! Invariants:
//!
//! - `[entry-lent]` An entry is published only for a [`Lent`] request, whose memory is
//!   pinned by its slot until the last completion, or for the ring's own wake-up poll
//!   and cancels, which lend none.
//! - `[group-mapped]` See `pool/mod.rs`.

#![allow(unsafe_code, reason = "publishes entries, enters the kernel, and registers buffer rings")]

pub(crate) mod encode;
mod files;
pub(crate) mod setup;
mod restrict;

use std::cell::OnceCell;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::time::Duration;

use io_uring::types::{Fd, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode, squeue};

use crate::backend::ahead::Ahead;
use crate::backend::capability::{self, Capabilities};
use crate::backend::refusal::{Refusal, Stage};
use crate::backend::send::{Attempt, send_now};
use crate::backend::unpark::Unparker;
use crate::backend::uring::encode::encode;
use crate::backend::uring::files::FileTable;
use crate::backend::uring::setup::{Rung, Setup};
use crate::backend::{Backend, BackendReport, Batch, Counters, Lent, Submitted, returns};
use crate::completion::Completion;
use crate::error;
use crate::pool::{GroupId, GroupMemory};
use crate::request::Request;
use crate::target::Place;
use crate::token::Token;

/// The poll on the eventfd that ends a park.
const WAKE: Token = Token::internal(0);
/// Answers to cancels. The target's own completion is the one that counts.
const CANCEL: Token = Token::internal(1);
/// `IORING_ENTER_GETEVENTS`: a plain submit runs no deferred work.
const GETEVENTS: u32 = 1;
/// `IORING_ENTER_EXT_ARG`
const EXT_ARG: u32 = 1 << 3;
/// `IOU_PBUF_RING_INC`
const INCREMENTAL: u16 = 2;

/// Completions of one park. The driver asks for the memory of all whom a batch concerns before the first of
/// them runs: slot, operation and task are about eight cache lines each, and a first-level cache has 512.
/// Batches without limit cost twice the user time at 1,000 connections, and a longer tail.
const BATCH_MAX: usize = 32;

/// One ring.
pub(crate) struct Uring {
    ring: IoUring,
    rung: Rung,
    unparker: Unparker,
    /// Rung by the kernel when there is something to collect; there once somebody polls for it.
    bell: OnceCell<Bell>,
    /// The wake-up poll is in the kernel.
    wake_armed: bool,
    report: BackendReport,
    counters: Counters,
    overflows_seen: u32,
    files: FileTable,
    past: Past,
    /// Of sends that were tried past the ring, and whose rest is in it.
    ahead: Ahead,
}

/// Whether the next send goes past the ring, by a system call of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Past {
    /// It goes with others, or it is not the first of its turn.
    Unwise,
    /// The last park brought one completion at the most, so it is likely to be alone. Through the ring it would take a
    /// system call, too, and then its completion would take a turn.
    Wise,
    /// The system refuses the call: a filter that knows rings only.
    Refused,
}

/// What a foreign event loop waits for.
struct Bell {
    eventfd: Unparker,
    /// Otherwise it has to be registered again after each time.
    rings_again: bool,
}

impl Uring {
    /// Sets up a ring of this size.
    pub(crate) fn open(setup: Setup, capabilities: Capabilities) -> io::Result<Self> {
        let (ring, rung) = setup::build(setup)?;
        if !ring.params().is_feature_ext_arg() {
            return Err(Refusal { stage: Stage::Wait, errno: libc::ENOSYS }.into());
        }
        let params = ring.params();
        let asked = setup.entries.next_power_of_two();
        let shrunk = if params.sq_entries() < asked {
            format!(" ({asked} do not fit into RLIMIT_MEMLOCK)")
        } else {
            String::new()
        };
        let restricted = if setup.restrict { ", restricted to what is used" } else { "" };
        let why = format!(
            "{}, {} + {} entries{shrunk}{restricted}, kernel {}; operations were run, not assumed{}",
            rung.name,
            params.sq_entries(),
            params.cq_entries(),
            capability::kernel_release(),
            setup.mask,
        );
        let report = BackendReport { name: "io_uring", why, capabilities };
        let unparker = Unparker::new()?;
        let mut this = Self {
            ring,
            rung,
            unparker,
            bell: OnceCell::new(),
            wake_armed: false,
            report,
            counters: Counters::default(),
            overflows_seen: 0,
            files: FileTable::new(),
            past: Past::Unwise,
            ahead: Ahead::default(),
        };
        this.arm_wake();
        Ok(this)
    }

    fn arm_wake(&mut self) {
        let eventfd = Fd(self.unparker.as_fd().as_raw_fd());
        let multi = self.report.capabilities.poll_multi;
        let entry = opcode::PollAdd::new(eventfd, libc::POLLIN as u32).multi(multi).build();
        self.wake_armed = self.publish(entry.user_data(WAKE.to_raw())) == Submitted::Accepted;
    }

    /// What becomes readable when there is something to collect. Who sleeps in a poll of the ring itself is
    /// not told of deferred task work; an eventfd is.
    pub(crate) fn bell(&self) -> io::Result<BorrowedFd<'_>> {
        if self.bell.get().is_none() {
            let hung = self.bell.set(self.hang_bell()?);
            debug_assert!(hung.is_ok(), "one thread hangs it");
        }
        Ok(self.bell.get().expect("it hangs").eventfd.as_fd())
    }

    fn hang_bell(&self) -> io::Result<Bell> {
        let rings_again = capability::rings_again();
        let bell = Unparker::new()?;
        self.ring.submitter().register_eventfd(bell.as_fd().as_raw_fd())?;
        self.unparker.hang(&bell);
        // What came before it hung rang nobody.
        bell.unpark();
        Ok(Bell { eventfd: bell, rings_again })
    }

    /// Where a bell rings once, this turn may have seen that. What comes in between is task work, too, of which
    /// `has_pending` tells.
    fn hang_again(&self, bell: &Bell) -> io::Result<()> {
        if bell.rings_again {
            return Ok(());
        }
        let submitter = self.ring.submitter();
        let hung = submitter.unregister_eventfd();
        hung.and_then(|()| submitter.register_eventfd(bell.eventfd.as_fd().as_raw_fd()))
            .map_err(|failure| error::named("io_uring_register of an eventfd", "", failure))
    }

    /// The descriptor of the ring itself.
    pub(crate) fn ring(&self) -> BorrowedFd<'_> {
        let fd = self.ring.as_raw_fd();
        // SAFETY: [ring-open] the ring owns its descriptor, and the borrow ends before the ring does.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }

    /// Puts the file of `fd` into the ring's own table. `None` if there is no table, or no room in it.
    pub(crate) fn hold(&mut self, fd: BorrowedFd<'_>) -> Option<Place> {
        // An older kernel keeps a file until every request before it is over, so that a close may
        // take as long as a stranger's send.
        if !self.report.capabilities.file_table {
            return None;
        }
        self.files.hold(&self.ring.submitter(), fd)
    }

    /// Takes it out again.
    pub(crate) fn let_go(&mut self, place: Place) {
        self.files.let_go(&self.ring.submitter(), place);
    }

    /// Sends what `request` says if it is alone: nothing else is to be submitted, nor has just come. Otherwise the bytes
    /// that went; the rest is to be submitted.
    ///
    /// Nobody may wait to send on this socket: it would be overtaken.
    #[inline]
    pub(crate) fn send_now(&mut self, request: &Request<'_>) -> Result<Completion, u32> {
        if self.past != Past::Wise || !matches!(request, Request::Send { .. }) {
            return Err(0);
        }
        if !self.ring.submission().is_empty() {
            return Err(0);
        }
        self.past = Past::Unwise;
        let mut progress = 0;
        match send_now(request, &mut progress) {
            // Of the call, or of the bytes: the ring will tell.
            Some(Attempt::Over(result)) if [-libc::EPERM, -libc::ENOSYS].contains(&result) => {
                self.past = Past::Refused;
                Err(0)
            }
            Some(Attempt::Over(result)) => Ok(Completion::new(result, 0)),
            Some(Attempt::Blocks) | None => Err(progress),
        }
    }

    /// So many bytes of a send that is submitted next went before.
    pub(crate) fn went_before(&mut self, token: Token, bytes: u32) {
        self.ahead.note(token, bytes);
    }

    fn publish(&mut self, entry: squeue::Entry) -> Submitted {
        let mut queue = self.ring.submission();
        // SAFETY: [entry-lent] every caller passes an entry of a `Lent` request or one that lends nothing.
        match unsafe { queue.push(&entry) } {
            Ok(()) => Submitted::Accepted,
            Err(_) => Submitted::Full,
        }
    }

    /// One system call: submit everything, wait for `want` completions or until the timeout.
    fn enter(&mut self, entries: u32, want: u32, timeout: Option<Duration>) -> io::Result<()> {
        self.counters.enters += 1;
        let submitter = self.ring.submitter();
        let entered = match timeout {
            Some(timeout) if want > 0 => {
                let timespec = Timespec::from(timeout);
                let args = SubmitArgs::new().timespec(&timespec);
                // SAFETY: [entry-lent] `args` matches EXT_ARG and outlives the call; the entries were published above.
                unsafe { submitter.enter(entries, want, GETEVENTS | EXT_ARG, Some(&args)) }
            }
            // SAFETY: [entry-lent] no argument; the entries were published above.
            _ => unsafe { submitter.enter::<libc::sigset_t>(entries, want, GETEVENTS, None) },
        };
        returns::renew();
        let Err(failure) = entered else { return Ok(()) };
        match failure.raw_os_error() {
            // A signal, or the deadline: the caller looks at the clock.
            Some(libc::EINTR | libc::ETIME) => Ok(()),
            // Reap first, try again: what was not consumed is still in the queue.
            Some(libc::EAGAIN | libc::EBUSY) => Ok(()),
            _ => Err(error::named("io_uring_enter", "", failure)),
        }
    }

    fn reap(&mut self, batch: &mut Batch) {
        let mut wake_ended = false;
        let before = batch.len();
        let mut queue = self.ring.completion();
        for entry in queue.by_ref().take(BATCH_MAX) {
            // Zero is what a message from another ring may carry: it has ended the wait, and that is all.
            let Some(token) = Token::from_raw(entry.user_data()) else { continue };
            if token.is_internal() {
                wake_ended |= token == WAKE && !io_uring::cqueue::more(entry.flags());
                continue;
            }
            batch.push((token, Completion::new(self.ahead.settle(token, entry.result()), entry.flags())));
        }
        let overflow = queue.overflow();
        drop(queue);
        self.counters.cq_overflows += u64::from(overflow.wrapping_sub(self.overflows_seen));
        self.overflows_seen = overflow;
        if self.past != Past::Refused {
            self.past = if batch.len() - before <= 1 { Past::Wise } else { Past::Unwise };
        }
        if wake_ended {
            // Reset before arming: an unpark in between is seen by the new poll.
            self.unparker.reset();
            self.wake_armed = false;
        }
    }
}

impl Drop for Uring {
    fn drop(&mut self) {
        self.files.clear(&self.ring.submitter());
    }
}

// SAFETY: [loan-pinned] [done-genuine] completions are the kernel's own, reported once; [ring-open] `ring` owns
// the descriptor.
unsafe impl Backend for Uring {
    fn submit(&mut self, token: Token, lent: Lent) -> Submitted {
        let mut queue = self.ring.submission();
        // Asked first, because encoding a close gives its descriptor away.
        if queue.is_full() {
            return Submitted::Full;
        }
        let mut request = lent.into_request();
        if let Request::Send { from, .. } = &mut request {
            *from = from.behind(self.ahead.of(token));
        }
        let entry = encode(request, self.files.number()).user_data(token.to_raw());
        // SAFETY: [entry-lent] the entry is of a `Lent` request.
        let pushed = unsafe { queue.push(&entry) };
        pushed.expect("there was room");
        Submitted::Accepted
    }

    fn cancel(&mut self, token: Token) -> Submitted {
        self.publish(opcode::AsyncCancel::new(token.to_raw()).build().user_data(CANCEL.to_raw()))
    }

    fn park(&mut self, timeout: Option<Duration>, batch: &mut Batch) -> io::Result<()> {
        if !self.wake_armed {
            self.arm_wake();
        }
        let queue = self.ring.submission();
        let (entries, overflowed) = (queue.len() as u32, queue.cq_overflow());
        // Without the flag of the deferred rungs nobody says whether work waits: then always ask.
        let work_waits = !self.rung.flags_taskrun() || queue.taskrun() || overflowed;
        drop(queue);
        self.counters.cq_overflows += u64::from(overflowed);
        let has_completions = !self.ring.completion().is_empty();
        // Without its wake-up poll (the queue was full just now) it would sleep through an unpark.
        let may_wait = self.wake_armed && timeout != Some(Duration::ZERO);
        let want = u32::from(may_wait && !has_completions);
        // What the kernel has done comes first: nothing is added to it meanwhile, so this ends.
        let may_put_off = has_completions && self.rung.completes_in_enter() && !overflowed;
        let put_off = may_put_off && entries <= self.ring.params().sq_entries() / 2;
        if !put_off && (entries > 0 || want > 0 || work_waits) {
            self.enter(entries, want, timeout)?;
        }
        if let Some(bell) = self.bell.get() {
            // Behind the enter, which rings it, and before the reap: what comes later rings again, and
            // what came in between is either reaped or task work, of which `has_pending` tells.
            bell.eventfd.reset();
            self.hang_again(bell)?;
        }
        self.reap(batch);
        Ok(())
    }

    fn has_pending(&mut self) -> bool {
        let queue = self.ring.submission();
        // On the rung without the flag, task work runs by itself whenever the thread leaves the kernel.
        let pending = !queue.is_empty() || queue.taskrun() || queue.cq_overflow();
        drop(queue);
        pending || !self.ring.completion().is_empty()
    }

    fn unparker(&self) -> Unparker {
        self.unparker.clone()
    }

    fn open_group(&mut self, group: GroupId, memory: &GroupMemory, incremental: bool) -> io::Result<()> {
        let flags = if incremental { INCREMENTAL } else { 0 };
        let (address, entries) = (memory.ring_address(), memory.entries());
        let submitter = self.ring.submitter();
        // SAFETY: [group-mapped] the driver keeps `memory` until it closed the group, or for ever.
        let registered =
            unsafe { submitter.register_buf_ring_with_flags(address, entries, group.to_raw(), flags) };
        registered.map_err(|error| {
            error::named(
                "io_uring_register of a buffer group",
                "Linux 5.19 has them, 6.12 incremental ones",
                error,
            )
        })
    }

    fn close_group(&mut self, group: GroupId) {
        // It fails only for a group that does not exist.
        let closed = self.ring.submitter().unregister_buf_ring(group.to_raw());
        debug_assert!(closed.is_ok(), "{closed:?}");
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell().unwrap_or_else(|_| self.ring())
    }

    fn report(&self) -> &BackendReport {
        &self.report
    }

    fn counters(&self) -> Counters {
        self.counters
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backend::mask::Mask;

    /// The trap: a restriction that is registered and not in force refuses nothing.
    #[test]
    fn a_restricted_ring_refuses_what_is_not_used_and_an_open_one_does_not() {
        let Ok(capabilities) = Capabilities::probe() else {
            return println!(
                "SKIP a_restricted_ring_refuses_what_is_not_used_and_an_open_one_does_not: needs io_uring"
            );
        };
        let mask = Mask::of_process().expect("known names");
        for (restrict, fsync, nop) in [(true, -libc::EACCES, 0), (false, -libc::EBADF, 0)] {
            let mut ring = Uring::open(Setup { entries: 8, restrict, mask }, capabilities).expect("a ring");
            assert_eq!(ring.report().why.contains("restricted"), restrict);
            for (entry, expected) in
                [(opcode::Fsync::new(Fd(-1)).build(), fsync), (opcode::Nop::new().build(), nop)]
            {
                let token = Token::internal(7);
                assert_eq!(ring.publish(entry.user_data(token.to_raw())), Submitted::Accepted);
                let result = loop {
                    ring.enter(2, 1, None).expect("an enter");
                    let mut queue = ring.ring.completion();
                    if let Some(done) = queue.find(|done| done.user_data() == token.to_raw()) {
                        break done.result();
                    }
                };
                assert_eq!(result, expected);
            }
            let mut known = io_uring::Probe::new();
            let registered = ring.ring.submitter().register_probe(&mut known);
            let refused = registered.err().and_then(|error| error.raw_os_error());
            assert_eq!(refused, restrict.then_some(libc::EACCES));
        }
    }
}
