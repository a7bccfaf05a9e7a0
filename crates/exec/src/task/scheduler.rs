//! The tasks of one core: which can run, which exist, and who woke them.
//!
//! It makes tasks, runs them one by one, collects wakes from other threads, and in the end
//! cancels what is left. It does not decide when; `executor.rs` does.

#![allow(unsafe_code, reason = "hands raw task cells to the lists that hold them")]

use std::{
    cell::{Cell, RefCell},
    collections::HashMap,
    ptr::NonNull,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicU64 as StdAtomicU64, Ordering as StdOrdering},
    },
};

use super::{
    header::{self, Header, TaskId},
    join::JoinHandle,
    owned::{self, OwnedList},
    prefetch::prefetch,
    queue::RunQueue,
    raw,
    remote::{RemoteStack, Then},
    state::{self, Close, Enqueue, State},
};
use crate::{context, mailbox::Bell, stats::Stats};

/// The tasks of one core.
///
/// Other threads reach it through wakers, and touch `bell` and `stack` only; the rest
/// is the owner's. It is neither `Send` nor `Sync`, so that no safe code can share it.
pub(crate) struct Scheduler {
    bell: Arc<Bell>,
    stack: RemoteStack,
    queue: RunQueue,
    owned: OwnedList,
    /// Cells that `close` has been through.
    swept: OwnedList,
    is_closing: Cell<bool>,
    next_id: Cell<u64>,
    names: RefCell<HashMap<TaskId, Rc<str>>>,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    alive: Cell<usize>,
    spawned: Cell<u64>,
    polls: Cell<u64>,
    wakes_local: Cell<u64>,
    wakes_remote: Cell<u64>,
}

fn count(counter: &Cell<u64>) {
    counter.set(counter.get().wrapping_add(1));
}

/// Makes task ids unique across executors.
static SERIAL: StdAtomicU64 = StdAtomicU64::new(1);

impl Scheduler {
    #[expect(
        clippy::arc_with_non_send_sync,
        reason = "wakers on other threads hold references, and use only what is Sync"
    )]
    pub(crate) fn new(bell: Arc<Bell>) -> Arc<Scheduler> {
        let serial = SERIAL.fetch_add(1, StdOrdering::Relaxed) & 0xffff;
        Arc::new(Scheduler {
            bell,
            stack: RemoteStack::new(),
            queue: RunQueue::new(),
            owned: OwnedList::new(),
            swept: OwnedList::new(),
            is_closing: Cell::new(false),
            next_id: Cell::new(serial << 48 | 1),
            names: RefCell::new(HashMap::new()),
            counters: Counters::default(),
        })
    }

    /// The address by which the context knows this core.
    pub(crate) fn address(this: &Arc<Scheduler>) -> *const () {
        Arc::as_ptr(this).cast()
    }

    /// Makes a task of `future` and puts it into the run queue.
    ///
    /// Must be called on the thread of the scheduler. While it closes, the task is cancelled
    /// at once.
    pub(crate) fn spawn<F>(this: &Arc<Scheduler>, future: F, name: Option<&str>) -> JoinHandle<F::Output>
    where
        F: Future + 'static,
        F::Output: 'static,
    {
        let id = TaskId(this.next_id.get());
        this.next_id.set(id.0 + 1);
        let Some(home) = NonNull::new(Arc::as_ptr(this).cast_mut()) else {
            unreachable!("an Arc is never null")
        };
        let (header, handle) = raw::allocate(future, home, id);
        // SAFETY: [listed] the cell is new; the list stays where it is, in the Arc, and a cell
        // leaves it before it is freed or orphaned.
        unsafe { this.owned.insert(header) };
        this.counters.alive.set(this.counters.alive.get() + 1);
        count(&this.counters.spawned);
        // SAFETY: [cell-alive] the handle holds a reference.
        let cell = unsafe { header.as_ref() };
        if let Some(name) = name {
            cell.is_named.set(true);
            this.names.borrow_mut().insert(id, Rc::from(name));
        }
        if this.is_closing.get() {
            this.cancel(header);
        } else {
            cell.state.set(State::Queued);
            // SAFETY: [listed] the cell is new, so it is in no queue; unfinished tasks live.
            unsafe { this.queue.push(header) };
        }
        handle
    }

    /// Runs the oldest runnable task; false if there is none.
    #[inline]
    pub(crate) fn run_one(&self) -> bool {
        let Some(header) = self.queue.pop() else { return false };
        count(&self.counters.polls);
        // SAFETY: [listed] the task was in the queue, so it is `Queued` or `Doomed` and alive;
        // [task-owned] only the executor, on its thread, calls this.
        unsafe { raw::run(header) };
        true
    }

    /// Whether a task can run.
    #[inline]
    pub(crate) fn has_runnable(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether other threads have woken tasks since the last collection.
    #[inline]
    pub(crate) fn has_remote(&self) -> bool {
        !self.stack.is_empty()
    }

    /// Makes the tasks runnable that other threads have woken.
    pub(crate) fn collect_remote(&self) {
        for header in self.stack.take() {
            self.collect(header);
        }
    }

    fn collect(&self, header: NonNull<Header>) {
        // SAFETY: [cell-alive] it came from the stack, so its `QUEUED` bit is set.
        let cell = unsafe { header.as_ref() };
        let collected = cell.remote.collect(cell.refs.get());
        if collected.is_notified {
            count(&self.counters.wakes_remote);
            let (next, enqueue) = state::transition_to_woken(cell.state.get());
            cell.state.set(next);
            self.obey(header, enqueue);
        }
        if collected.is_last {
            // SAFETY: [cell-alive] no reference is left, and `collect` has cleared `QUEUED`.
            unsafe { header::free_at_home(header) };
        }
    }

    /// Wakes a task on its own core.
    #[inline]
    pub(super) fn wake_here(&self, header: NonNull<Header>, cell: &Header) {
        let (next, enqueue) = state::transition_to_woken(cell.state.get());
        cell.state.set(next);
        if enqueue == Enqueue::Yes {
            count(&self.counters.wakes_local);
            prefetch(header);
            self.obey(header, enqueue);
        }
    }

    /// Puts a task into the run queue if its transition says so.
    #[inline]
    pub(super) fn obey(&self, header: NonNull<Header>, enqueue: Enqueue) {
        // A closing scheduler cancels every task by the list, and runs none.
        if enqueue == Enqueue::Yes && !self.is_closing.get() {
            // SAFETY: [listed] the transition says that it was not in the queue.
            unsafe { self.queue.push(header) };
        }
    }

    /// Tells whoever turns the core that the run queue changed while nobody ran it: the thread is ours, and
    /// may be about to wait in an event loop of its own.
    pub(crate) fn announce(&self) {
        if !context::is_home(std::ptr::from_ref(self).cast()) {
            self.bell.ring();
        }
    }

    /// Hands a cell over from another thread, whose word said `Push`.
    pub(super) fn push_remote(&self, header: NonNull<Header>) {
        // SAFETY: [cell-alive] the word said `Push`: this thread set `QUEUED` just now.
        if unsafe { self.stack.push(header) } {
            self.bell.ring();
            return;
        }
        // SAFETY: [cell-alive] not pushed, so the `QUEUED` bit is still ours.
        let then = unsafe { header.as_ref() }.remote.unqueue();
        if then == Then::Free {
            // SAFETY: [cell-alive] the word said that it is an orphan without references.
            unsafe { header::free_orphan(header) };
        }
    }

    /// Called when the future of a task is gone.
    pub(super) fn note_finished(&self, cell: &Header, id: TaskId) {
        self.counters.alive.set(self.counters.alive.get() - 1);
        if cell.is_named.get() {
            self.names.borrow_mut().remove(&id);
        }
    }

    /// Called before a cell is freed on its core.
    pub(super) fn forget(&self, cell: &Header) {
        owned::remove(cell);
    }

    /// The name of a task that is alive, if it has one.
    pub(crate) fn name(&self, id: TaskId) -> Option<Rc<str>> {
        self.names.borrow().get(&id).cloned()
    }

    /// Fills in the counters that live here.
    pub(crate) fn add_stats(&self, stats: &mut Stats) {
        stats.tasks_alive = self.counters.alive.get();
        stats.tasks_spawned = self.counters.spawned.get();
        stats.polls = self.counters.polls.get();
        stats.wakes_local = self.counters.wakes_local.get();
        stats.wakes_remote = self.counters.wakes_remote.get();
    }

    /// Cancels all tasks, and closes the door for wakes from other threads.
    ///
    /// Destructors of futures run here; the core should still be the current one.
    pub(crate) fn close(&self) {
        self.is_closing.set(true);
        // What is in the queue is also in the list.
        while self.queue.pop().is_some() {}
        while let Some(header) = self.owned.pop() {
            // SAFETY: [listed] it just left the one list it was in, and is alive.
            unsafe { self.swept.insert(header) };
            self.cancel(header);
        }
        for header in self.stack.close() {
            self.collect(header);
        }
    }

    /// Cancels an unfinished task that is not running.
    fn cancel(&self, header: NonNull<Header>) {
        // SAFETY: [cell-alive] callers got it from the list or made it.
        let cell = unsafe { header.as_ref() };
        let (next, close) = state::transition_to_closed(cell.state.get());
        cell.state.set(next);
        if close == Close::Cancel {
            // SAFETY: [one-poll] its state is `Dying` now; [task-owned] we are at home.
            unsafe { raw::cancel(header) };
        }
    }

    /// Lets go of the cells that somebody still refers to; after `close`, outside of the core.
    pub(crate) fn orphan_all(this: &Arc<Scheduler>) {
        debug_assert!(!context::is_home(Scheduler::address(this)));
        while let Some(header) = this.swept.pop().or_else(|| this.owned.pop()) {
            // [home-alive] From here on the cell holds a reference of its own.
            let _ = Arc::into_raw(Arc::clone(this));
            // SAFETY: [listed] it was in the list, so it is alive.
            let cell = unsafe { header.as_ref() };
            if cell.remote.orphan(cell.refs.get()) == Then::Free {
                // SAFETY: [cell-alive] the word said that no reference is left.
                unsafe { header::free_orphan(header) };
            }
        }
    }
}
