//! The cooperative budget: a task that always finds work yields now and then.
//!
//! Each poll of a task starts with [`OPERATIONS_MAX`] operations. Channels and other things
//! that are often ready spend one per success; at zero they report `Pending` once, after
//! waking the task, so that the others and the kernel get their turn. Outside of a core the
//! budget is endless.

use std::task::{Context, Poll};

use crate::context;

/// Operations per poll of a task. Large enough that the detour through the run queue (about
/// 20 ns) vanishes in 128 operations, small enough that no task holds its core for long.
pub(crate) const OPERATIONS_MAX: u32 = 128;

/// Starts a poll: `task` runs with a full budget.
#[inline]
pub(crate) fn start(task: u64) {
    context::with(|context| {
        context.task.set(task);
        context.budget.set(OPERATIONS_MAX);
    });
}

/// Spends one operation; `Pending`, with the task woken, if none is left.
///
/// Call it before an operation that may succeed, and [`refund`] it if that did not.
#[inline]
pub(crate) fn spend(cx: &mut Context<'_>) -> Poll<()> {
    let left = context::with(|context| {
        let left = context.budget.get();
        if left != u32::MAX {
            context.budget.set(left.saturating_sub(1));
        }
        left
    });
    if left == 0 {
        cx.waker().wake_by_ref();
        return Poll::Pending;
    }
    Poll::Ready(())
}

/// Takes back a [`spend`] whose operation made no progress.
#[inline]
pub(crate) fn refund() {
    context::with(|context| {
        let left = context.budget.get();
        if left < OPERATIONS_MAX {
            context.budget.set(left + 1);
        }
    });
}
