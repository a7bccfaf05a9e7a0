//! The only door between cores.
//!
//! [`Bell`] ends the sleep of a core, once per sleep however many threads ring it.
//! [`Mailbox`] carries closures to a core. Wakes of tasks from other threads use the same
//! bell and their own stack (`task/remote.rs`).

use std::{collections::VecDeque, sync::Arc};

use crate::{
    park::Unpark,
    primitives::{AtomicBool, Mutex, Ordering, fence, lock},
};

/// A closure that another core runs.
pub(crate) type Job = Box<dyn FnOnce() + Send>;

/// Ends the sleep of one core.
///
/// The protocol, which loom checks: a sender publishes its work, then rings; the core says
/// that it dozes off, then looks for work once more, then parks. Of the two fences one comes
/// first, so that either the core sees the work or the sender sees the core asleep.
pub(crate) struct Bell {
    asleep: AtomicBool,
    unparker: Arc<dyn Unpark>,
}

impl Bell {
    pub(crate) fn new(unparker: Arc<dyn Unpark>) -> Bell {
        Bell { asleep: AtomicBool::new(false), unparker }
    }

    /// Wakes the core if it sleeps; to be called after the work is published.
    pub(crate) fn ring(&self) {
        fence(Ordering::SeqCst);
        // The load keeps the line shared while the core is busy; only the one who turns
        // asleep into awake pays for the unpark.
        if self.asleep.load(Ordering::Relaxed) && self.asleep.swap(false, Ordering::AcqRel) {
            self.unparker.unpark();
        }
    }

    /// Says that the core is about to sleep; it must look for work once more after this.
    pub(crate) fn doze(&self) {
        // A swap, so that it is ordered with the swap of a late ringer of the sleep before: with a
        // plain store loom finds a wake that relies on that one and is lost.
        self.asleep.swap(true, Ordering::AcqRel);
        fence(Ordering::SeqCst);
    }

    /// Says that the core is awake again.
    pub(crate) fn rise(&self) {
        self.asleep.store(false, Ordering::Relaxed);
    }
}

/// Closures on their way to one core.
pub(crate) struct Mailbox {
    bell: Arc<Bell>,
    has_jobs: AtomicBool,
    /// `None` once the core is gone.
    jobs: Mutex<Option<VecDeque<Job>>>,
}

impl Mailbox {
    pub(crate) fn new(bell: Arc<Bell>) -> Mailbox {
        Mailbox { bell, has_jobs: AtomicBool::new(false), jobs: Mutex::new(Some(VecDeque::new())) }
    }

    /// Sends `job`; gives it back if the core is gone.
    pub(crate) fn send(&self, job: Job) -> Result<(), Job> {
        {
            let mut jobs = lock(&self.jobs);
            let Some(jobs) = jobs.as_mut() else { return Err(job) };
            jobs.push_back(job);
            self.has_jobs.store(true, Ordering::Release);
        }
        self.bell.ring();
        Ok(())
    }

    /// Whether something has arrived. Cheap: one load.
    #[inline]
    pub(crate) fn has_jobs(&self) -> bool {
        self.has_jobs.load(Ordering::Acquire)
    }

    /// Takes all that has arrived.
    pub(crate) fn take(&self) -> VecDeque<Job> {
        let mut jobs = lock(&self.jobs);
        self.has_jobs.store(false, Ordering::Relaxed);
        jobs.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Closes the door, and drops what has not been run.
    pub(crate) fn close(&self) {
        let left = lock(&self.jobs).take();
        // Outside of the lock: dropping a job may run user code.
        drop(left);
    }
}
