//! The cell of a task: its memory, and what depends on the type of its future.
//!
//! Here a future is polled, dropped, and replaced by its output. Nothing here decides when:
//! `scheduler.rs` calls, `state.rs` says what may happen.

#![allow(unsafe_code, reason = "turns header pointers into the typed cells they point to")]

use std::{
    any::Any,
    cell::{Cell, UnsafeCell},
    panic::{AssertUnwindSafe, catch_unwind},
    pin::Pin,
    ptr::NonNull,
    task::{Context, Poll},
};

use super::{
    header::{self, Header, Prefix, TaskId, Vtable},
    join::{JoinError, JoinHandle},
    scheduler::Scheduler,
    state::{self, Enqueue, Rest, Start},
    waker,
};
use crate::budget;

/// One allocation: header, future, and later the output in the future's place.
#[repr(C)]
struct TaskCell<F: Future> {
    prefix: Prefix,
    stage: UnsafeCell<Stage<F>>,
}

enum Stage<F: Future> {
    Future(F),
    Output(Result<F::Output, JoinError>),
    Empty,
}

/// Runs `f`, and turns a panic into its payload.
pub(crate) fn catch<R>(f: impl FnOnce() -> R) -> Result<R, Box<dyn Any + Send>> {
    catch_unwind(AssertUnwindSafe(f))
}

/// Makes the cell of a task, with one reference for the task and one for the handle.
pub(super) fn allocate<F: Future>(
    future: F,
    home: NonNull<Scheduler>,
    id: TaskId,
) -> (NonNull<Header>, JoinHandle<F::Output>) {
    // Written where it stays, field by field: building it elsewhere and moving it costs more than
    // the allocation does.
    let mut cell = Box::<TaskCell<F>>::new_uninit();
    let place = cell.as_mut_ptr();
    let header = Header::new(vtable::<F>(), home);
    let prefix = Prefix { header, id: Cell::new(id), join_waker: UnsafeCell::new(None) };
    // SAFETY: the memory of a whole cell, which begins with its prefix.
    unsafe { place.cast::<Prefix>().write(prefix) };
    // SAFETY: [cell-alive] the box still owns that memory.
    let stage = unsafe { &raw mut (*place).stage };
    // SAFETY: as above; the pointer is to the field of this type.
    unsafe { stage.write(UnsafeCell::new(Stage::Future(future))) };
    // SAFETY: both fields were written above.
    let cell = unsafe { cell.assume_init() };
    let header = NonNull::from(Box::leak(cell)).cast::<Header>();
    // SAFETY: the second of the two references that a header is born with is the handle's, and
    // the cell's output is of this type.
    let handle = unsafe { JoinHandle::new(header) };
    (header, handle)
}

/// Runs a task that was just taken from the run queue.
///
/// # Safety
/// - `header` was in the run queue of a scheduler of this thread. \[listed\] \[task-owned\]
#[inline]
pub(super) unsafe fn run(header: NonNull<Header>) {
    // SAFETY: [cell-alive] a task in the queue is unfinished, and so alive.
    let cell = unsafe { header.as_ref() };
    let (next, start) = state::transition_to_running(cell.state.get());
    cell.state.set(next);
    if start == Start::Cancel {
        // SAFETY: [one-poll] the state is `Dying`, set just now.
        unsafe { cancel(header) };
        return;
    }
    // SAFETY: [cell-alive] as above; only the owner touches it.
    budget::start(unsafe { prefix(header) }.id.get().0);
    let waker = waker::borrow(header);
    let poll = cell.vtable.poll;
    // SAFETY: [one-poll] the state is `Running`, so the stage is ours; [task-owned].
    let is_done = unsafe { poll(header, &mut Context::from_waker(&waker)) };
    if is_done {
        // SAFETY: [cell-alive] the task's own reference, which this gives up.
        unsafe { finish(header) };
        return;
    }
    let (next, rest) = state::transition_to_resting(cell.state.get());
    cell.state.set(next);
    match rest {
        Rest::Wait => {}
        // SAFETY: [home-alive] we run on it.
        Rest::Requeue => unsafe { cell.home.as_ref() }.obey(header, Enqueue::Yes),
        // SAFETY: [one-poll] the state is `Dying`.
        Rest::Cancel => unsafe { cancel(header) },
    }
}

/// Drops the future of a task, makes "cancelled" its output, and finishes it.
///
/// # Safety
/// - `header` is a live, unfinished task of this thread. \[task-owned\]
/// - Its state is `Dying`, and no poll of it is going on. \[one-poll\]
pub(super) unsafe fn cancel(header: NonNull<Header>) {
    // SAFETY: [cell-alive] by contract.
    let cancel = unsafe { header.as_ref() }.vtable.cancel;
    // SAFETY: [one-poll] by contract.
    unsafe { cancel(header) };
    // SAFETY: [cell-alive] the task's own reference, which this gives up.
    unsafe { finish(header) };
}

/// Ends a task whose output is stored: tells the handle, and gives up the task's reference.
///
/// # Safety
/// - `header` is a live task of this thread in its last poll. \[task-owned\]
unsafe fn finish(header: NonNull<Header>) {
    // SAFETY: [cell-alive] by contract.
    let cell = unsafe { header.as_ref() };
    // SAFETY: as above.
    let prefix = unsafe { prefix(header) };
    cell.state.set(state::transition_to_finished(cell.state.get()));
    // SAFETY: [home-alive] tasks finish before the scheduler goes.
    unsafe { cell.home.as_ref() }.note_finished(cell, prefix.id.get());
    // SAFETY: [task-owned] the reference ends in this statement, before any other code runs.
    let waker = unsafe { &mut *prefix.join_waker.get() }.take();
    if let Some(waker) = waker {
        // A waker of another runtime may panic; that is not this task's fault.
        let _ = catch(|| waker.wake());
    }
    if !cell.join_interest.get() {
        let drop_output = cell.vtable.drop_output;
        // SAFETY: [one-poll] finished, and there is no handle that could take the output.
        let _ = catch(|| unsafe { drop_output(header) });
    }
    if cell.sub_ref() {
        // SAFETY: [cell-alive] that was the last reference; we are at home, not orphaned.
        unsafe { header::free_at_home(header) };
    }
}

/// The part after the header that every cell has.
///
/// # Safety
/// - `header` is alive for `'a`. \[cell-alive\]
pub(super) unsafe fn prefix<'a>(header: NonNull<Header>) -> &'a Prefix {
    // SAFETY: the header is the first field of a `Prefix`, which is the first of every cell;
    // pointers to headers are made from pointers to whole cells.
    unsafe { header.cast::<Prefix>().as_ref() }
}

fn vtable<F: Future>() -> &'static Vtable {
    &const {
        Vtable {
            poll: poll::<F>,
            cancel: drop_future::<F>,
            take_output: take_output::<F>,
            drop_output: drop_output::<F>,
            dealloc: dealloc::<F>,
        }
    }
}

/// # Safety
/// - `header` is a live cell made for `F`.
unsafe fn stage<F: Future>(header: NonNull<Header>) -> *mut Stage<F> {
    // SAFETY: by contract the pointer is to a `TaskCell<F>`, which begins with the header.
    unsafe { header.cast::<TaskCell<F>>().as_ref() }.stage.get()
}

unsafe fn poll<F: Future>(header: NonNull<Header>, cx: &mut Context<'_>) -> bool {
    // SAFETY: the vtable belongs to the cell, so the type is right.
    let stage = unsafe { stage::<F>(header) };
    let polled = catch(|| {
        // SAFETY: [one-poll] the task is running, so nobody else borrows the stage.
        let Stage::Future(future) = (unsafe { &mut *stage }) else {
            unreachable!("a running task has a future")
        };
        // SAFETY: the cell does not move, and the future is dropped in place.
        unsafe { Pin::new_unchecked(future) }.poll(cx)
    });
    let output = match polled {
        Ok(Poll::Pending) => return false,
        Ok(Poll::Ready(output)) => Ok(output),
        Err(panic) => Err(JoinError::panic(panic)),
    };
    // SAFETY: [one-poll] as above.
    unsafe { replace_future(stage, output) };
    true
}

unsafe fn drop_future<F: Future>(header: NonNull<Header>) {
    // SAFETY: the vtable belongs to the cell, so the type is right.
    let stage = unsafe { stage::<F>(header) };
    // SAFETY: [one-poll] the task is dying, and no poll of it is going on.
    unsafe { replace_future(stage, Err(JoinError::cancelled())) };
}

/// Drops the future where it is, and puts the output into its place.
///
/// # Safety
/// - `stage` is valid, and nobody else borrows it. \[one-poll\]
unsafe fn replace_future<F: Future>(stage: *mut Stage<F>, mut output: Result<F::Output, JoinError>) {
    // The destructor may panic: then that is the outcome, and the future counts as dropped.
    // SAFETY: [one-poll] by contract.
    if let Err(panic) = catch(|| unsafe { stage.drop_in_place() }) {
        // The output that is lost here may panic in turn; the first panic is the one to tell.
        let _ = catch(|| output = Err(JoinError::panic(panic)));
    }
    // SAFETY: the old value was dropped above, so nothing may be dropped now.
    unsafe { stage.write(Stage::Output(output)) };
}

unsafe fn take_output<F: Future>(header: NonNull<Header>, to: *mut ()) {
    // SAFETY: the vtable belongs to the cell, so the type is right.
    let stage = unsafe { stage::<F>(header) };
    // SAFETY: [one-poll] the task is finished, and its one handle asks.
    let taken = std::mem::replace(unsafe { &mut *stage }, Stage::Empty);
    if let Stage::Output(output) = taken {
        // SAFETY: the handle has the output's type, and passes a pointer to a valid `Option` of it.
        unsafe { *to.cast::<Option<Result<F::Output, JoinError>>>() = Some(output) };
    }
}

unsafe fn drop_output<F: Future>(header: NonNull<Header>) {
    // SAFETY: the vtable belongs to the cell, so the type is right.
    let stage = unsafe { stage::<F>(header) };
    // SAFETY: [one-poll] the task is finished, and its handle is gone or asks.
    let taken = std::mem::replace(unsafe { &mut *stage }, Stage::Empty);
    drop(taken);
}

unsafe fn dealloc<F: Future>(header: NonNull<Header>) {
    let cell = header.cast::<TaskCell<F>>().as_ptr();
    // SAFETY: [cell-alive] nobody else can reach it; it came from a `Box` of this type. [stage-empty]
    drop(unsafe { Box::from_raw(cell) });
}
