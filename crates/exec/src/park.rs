//! What an executor does when no task can run.
//!
//! [`Park`] is the one thing the executor knows about the outside: an I/O driver implements
//! it, and so do the two parks here, which need no I/O. [`ThreadPark`] blocks the thread;
//! [`VirtualPark`] moves a virtual clock instead of waiting.

use std::{io, marker::PhantomData, sync::Arc, time::Duration};

use crate::{
    clock::VirtualClock,
    primitives::{AtomicBool, Ordering, thread},
};

/// What an executor does when no task can run.
///
/// The executor calls it on its own thread only, between polls, never re-entrantly.
pub trait Park {
    /// Waits until an event, an unpark, or the end of `timeout`.
    ///
    /// `None` means no limit; `Some(ZERO)` means to hand over queued work and collect what is
    /// there, without sleeping. May wake tasks before it returns. Returning early is
    /// always allowed.
    ///
    /// # Errors
    /// Only errors after which no event can be delivered any more. The executor panics with
    /// them: a core that cannot wait cannot work.
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()>;

    /// Whether `park(Some(ZERO))` might deliver an event now or hand over queued work.
    ///
    /// Called once per tick while tasks are runnable, so it should cost a few nanoseconds.
    /// `true` when in doubt.
    fn has_pending(&self) -> bool {
        true
    }

    /// A handle by which any thread ends the current or, if none is going on, the next park.
    fn unparker(&self) -> Arc<dyn Unpark>;

    /// Called once when the executor is dropped, after all of its tasks were dropped.
    ///
    /// Finishes what is in flight, for at most `timeout`.
    fn shut_down(&mut self, timeout: Duration) {
        let _ = timeout;
    }
}

/// Ends a park from any thread.
pub trait Unpark: Send + Sync + 'static {
    /// Ends the current park, or makes the next one return at once.
    ///
    /// The executor coalesces calls: one per time it falls asleep.
    fn unpark(&self);
}

/// Parks by blocking the thread; the park of an executor without I/O.
///
/// It belongs to the thread that made it.
pub struct ThreadPark {
    shared: Arc<ThreadUnpark>,
    not_send: PhantomData<*const ()>,
}

struct ThreadUnpark {
    notified: AtomicBool,
    thread: thread::Thread,
}

impl ThreadPark {
    /// A park for the calling thread.
    pub fn new() -> ThreadPark {
        let shared = ThreadUnpark { notified: AtomicBool::new(false), thread: thread::current() };
        ThreadPark { shared: Arc::new(shared), not_send: PhantomData }
    }
}

impl Default for ThreadPark {
    fn default() -> ThreadPark {
        ThreadPark::new()
    }
}

impl Park for ThreadPark {
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        // The flag, and not only the thread's token, says whether we were unparked: blocking
        // code in a task may have used up the token.
        if !self.shared.notified.swap(false, Ordering::AcqRel) {
            match timeout {
                None => thread::park(),
                Some(Duration::ZERO) => {}
                #[cfg(not(loom))]
                Some(timeout) => thread::park_timeout(timeout),
                #[cfg(loom)]
                Some(_) => thread::yield_now(),
            }
            self.shared.notified.swap(false, Ordering::AcqRel);
        }
        Ok(())
    }

    fn has_pending(&self) -> bool {
        false
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.shared.clone()
    }
}

impl Unpark for ThreadUnpark {
    fn unpark(&self) {
        // A swap: one order of all calls and of the other side's swaps, in loom's eyes too.
        self.notified.swap(true, Ordering::AcqRel);
        self.thread.unpark();
    }
}

/// Parks by moving a virtual clock to the end of the timeout; nobody waits.
///
/// The executor parks only when nobody can run, so virtual time passes exactly then. Without
/// a timer to wait for it blocks the thread like [`ThreadPark`].
pub struct VirtualPark {
    clock: VirtualClock,
    thread: ThreadPark,
}

impl VirtualPark {
    /// A park for the calling thread that moves `clock`.
    pub fn new(clock: VirtualClock) -> VirtualPark {
        VirtualPark { clock, thread: ThreadPark::new() }
    }
}

impl Park for VirtualPark {
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        match timeout {
            None => self.thread.park(None),
            Some(Duration::ZERO) => Ok(()),
            Some(timeout) => {
                if !self.thread.shared.notified.swap(false, Ordering::AcqRel) {
                    self.clock.advance(timeout);
                }
                Ok(())
            }
        }
    }

    fn has_pending(&self) -> bool {
        false
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        self.thread.unparker()
    }
}
