//! The part of a task's cell that does not depend on its future.
//!
//! [`Header`] fits a cache line. [`Prefix`] adds what is not needed to run a task. Both know
//! reference counts; what the counts and states mean is in `mod.rs` and `state.rs`.

#![allow(unsafe_code, reason = "reads fields through raw header pointers")]

use std::{
    cell::{Cell, UnsafeCell},
    fmt,
    ptr::{self, NonNull},
    sync::Arc,
    task::{Context, Waker},
};

use super::{owned::Links, remote::RemoteWord, scheduler::Scheduler, state::State};
use crate::primitives::{AtomicPtr, Ordering};

/// Names a task; unique within the process while fewer than 65,536 executors have been made.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(pub(crate) u64);

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.0 >> 48, self.0 & 0xffff_ffff_ffff)
    }
}

impl fmt::Debug for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TaskId({self})")
    }
}

/// What the run queue, the owned list and the wakers know of a task.
#[repr(C)]
pub(super) struct Header {
    /// Neighbours in the owned list. First, so that a link's address is the header's.
    pub(super) links: Links,
    /// Next in the run queue. Owner only.
    pub(super) next: Cell<Option<NonNull<Header>>>,
    /// How to poll, take the output, free. Set at birth, read by anybody.
    pub(super) vtable: &'static Vtable,
    /// The scheduler of the task's core. Set at birth, read by anybody. [home-alive]
    pub(super) home: NonNull<Scheduler>,
    /// References cloned minus references dropped on the owner thread; may be negative,
    /// since a waker may be cloned there and dropped here. Owner only.
    pub(super) refs: Cell<i32>,
    /// Owner only.
    pub(super) state: Cell<State>,
    /// Whether a `JoinHandle` may still ask for the output. Owner only.
    pub(super) join_interest: Cell<bool>,
    /// Whether the scheduler has a name for it. Owner only.
    pub(super) is_named: Cell<bool>,
    /// References cloned minus dropped elsewhere, and flags. Anybody.
    pub(super) remote: RemoteWord,
    /// Next in the remote stack. Belongs to whoever set `QUEUED`.
    pub(super) remote_next: AtomicPtr<Header>,
}

#[cfg(not(loom))]
const _: () = assert!(size_of::<Header>() == 64);

/// The header and what is touched only at birth, at joining and at the end.
#[repr(C)]
pub(super) struct Prefix {
    pub(super) header: Header,
    pub(super) id: Cell<TaskId>,
    /// Whom to wake when the task finishes. Owner only.
    pub(super) join_waker: UnsafeCell<Option<Waker>>,
}

/// The operations that depend on the type of the future.
///
/// All take a pointer to a live cell of that type, on the owner thread; `dealloc` on any.
pub(super) struct Vtable {
    /// Polls the future; true if it is done, its output (or its panic) stored.
    pub(super) poll: unsafe fn(NonNull<Header>, &mut Context<'_>) -> bool,
    /// Drops the future and stores "cancelled" (or the panic of its destructor).
    pub(super) cancel: unsafe fn(NonNull<Header>),
    /// Moves the output to `*mut Option<Result<T, JoinError>>`.
    pub(super) take_output: unsafe fn(NonNull<Header>, *mut ()),
    /// Drops the output.
    pub(super) drop_output: unsafe fn(NonNull<Header>),
    /// Frees the memory.
    pub(super) dealloc: unsafe fn(NonNull<Header>),
}

impl Header {
    pub(super) fn new(vtable: &'static Vtable, home: NonNull<Scheduler>) -> Header {
        Header {
            links: Links::new(),
            next: Cell::new(None),
            vtable,
            home,
            // One for the task, one for its join handle.
            refs: Cell::new(2),
            state: Cell::new(State::Idle),
            join_interest: Cell::new(true),
            is_named: Cell::new(false),
            remote: RemoteWord::new(),
            remote_next: AtomicPtr::new(ptr::null_mut()),
        }
    }

    /// Adds a reference, on the owner thread.
    #[inline]
    pub(super) fn add_ref(&self) {
        let refs = self.refs.get();
        if refs == i32::MAX {
            // Two billion forgotten wakers: going on would free memory in use.
            std::process::abort();
        }
        self.refs.set(refs + 1);
    }

    /// Gives back a reference, on the owner thread; true if it was the last one anywhere.
    #[inline]
    pub(super) fn sub_ref(&self) -> bool {
        let refs = self.refs.get();
        if refs == i32::MIN {
            std::process::abort();
        }
        self.refs.set(refs - 1);
        self.remote.is_last(refs - 1, Ordering::Acquire)
    }
}

/// Frees a cell that nobody refers to, on its owner thread.
///
/// # Safety
/// - `header` is a live cell of this thread's scheduler, not orphaned.
/// - No reference to it is left, and `QUEUED` is clear. \[cell-alive\]
pub(super) unsafe fn free_at_home(header: NonNull<Header>) {
    // SAFETY: [cell-alive] by contract the cell is still there.
    let cell = unsafe { header.as_ref() };
    debug_assert_eq!(cell.state.get(), State::Finished);
    // SAFETY: [home-alive] the cell is not orphaned, so its scheduler lives.
    let home = unsafe { cell.home.as_ref() };
    home.forget(cell);
    let dealloc = cell.vtable.dealloc;
    // SAFETY: [cell-alive] by contract nobody else can reach the cell; [stage-empty]: its task
    // reference is gone, so it is finished, and its handle is gone, so its output is.
    unsafe { dealloc(header) };
}

/// Frees an orphaned cell that nobody refers to, on any thread.
///
/// # Safety
/// - `header` is a live, orphaned cell.
/// - No reference to it is left, and `QUEUED` is clear. \[cell-alive\]
pub(super) unsafe fn free_orphan(header: NonNull<Header>) {
    // SAFETY: [cell-alive] by contract the cell is still there.
    let cell = unsafe { header.as_ref() };
    let home = cell.home;
    let dealloc = cell.vtable.dealloc;
    // SAFETY: [cell-alive] by contract nobody else can reach the cell; [stage-empty] orphaned cells
    // are finished, and the output went with the join handle.
    unsafe { dealloc(header) };
    // SAFETY: [home-alive] the orphan owned this reference; the pointer came from an `Arc`.
    drop(unsafe { Arc::from_raw(home.as_ptr().cast_const()) });
}
