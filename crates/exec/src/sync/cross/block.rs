//! Waits for a future by blocking the thread.

use std::{
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Wake, Waker},
};

use crate::{
    context,
    primitives::{AtomicBool, Ordering, thread},
};

struct Blocked {
    thread: thread::Thread,
    is_woken: AtomicBool,
}

impl Wake for Blocked {
    fn wake(self: Arc<Self>) {
        // A swap: one order of all calls and of the other side's swaps, in loom's eyes too.
        self.is_woken.swap(true, Ordering::AcqRel);
        self.thread.unpark();
    }
}

/// Blocks the thread until `future` is done.
///
/// # Panics
/// On a thread that runs an executor.
#[track_caller]
pub(crate) fn block_thread<F: Future>(future: F) -> F::Output {
    assert!(
        context::with_services(|services| services.is_none()),
        "blocking a core would stop all its tasks: await instead"
    );
    let mut future = pin!(future);
    let blocked = Arc::new(Blocked { thread: thread::current(), is_woken: AtomicBool::new(false) });
    let waker = Waker::from(blocked.clone());
    let mut cx = Context::from_waker(&waker);
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
            return output;
        }
        // The flag, not the token, tells a wake from somebody else's unpark.
        while !blocked.is_woken.swap(false, Ordering::AcqRel) {
            thread::park();
        }
    }
}
