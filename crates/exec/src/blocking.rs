//! Threads for calls that block: a pool that grows on demand and shrinks when idle.
//!
//! It runs closures, and knows neither tasks nor results; `tasks/blocking.rs` does. The last
//! owner (an executor or a group) closes it: jobs that have not begun are dropped, running ones end by
//! themselves.

use std::{
    collections::VecDeque,
    sync::{
        Arc, Condvar, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

/// A closure for a pool thread. It must not panic.
pub(crate) type BlockingJob = Box<dyn FnOnce() + Send>;

/// How long a thread waits for work before it ends.
const IDLE_MAX: Duration = Duration::from_secs(10);

/// The owners' side. When it is dropped, the pool closes.
#[derive(Debug)]
pub(crate) struct Pool {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    work: Condvar,
    threads_max: usize,
    /// Jobs that were submitted and have not ended.
    unfinished: AtomicUsize,
}

struct State {
    queue: VecDeque<BlockingJob>,
    threads: usize,
    /// Threads that wait; each counts itself.
    idle: usize,
    is_closed: bool,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State")
            .field("queued", &self.queue.len())
            .field("threads", &self.threads)
            .field("idle", &self.idle)
            .finish_non_exhaustive()
    }
}

impl Pool {
    /// A pool of at most `threads_max` threads; none is started yet. Without any, jobs run at once.
    pub(crate) fn new(threads_max: usize) -> Arc<Pool> {
        Arc::new(Pool {
            shared: Arc::new(Shared {
                state: Mutex::new(State { queue: VecDeque::new(), threads: 0, idle: 0, is_closed: false }),
                work: Condvar::new(),
                threads_max,
                unfinished: AtomicUsize::new(0),
            }),
        })
    }

    /// Runs `job` on a pool thread: an idle one, a new one, or the first that gets free.
    ///
    /// If no thread can be started and none exists, the job runs here and now: late and
    /// blocking is better than never.
    pub(crate) fn submit(&self, job: BlockingJob) {
        let shared = &self.shared;
        shared.unfinished.fetch_add(1, Ordering::Relaxed);
        if shared.threads_max == 0 {
            return shared.run(job);
        }
        let mut state = shared.lock();
        state.queue.push_back(job);
        // `idle` includes threads that were notified and have not come yet, so count their jobs.
        if state.queue.len() <= state.idle || state.threads == shared.threads_max {
            shared.work.notify_one();
            return;
        }
        state.threads += 1;
        drop(state);
        let weak = Arc::downgrade(shared);
        let started =
            std::thread::Builder::new().name("coronet-blocking".to_owned()).spawn(move || work(&weak));
        if started.is_err() {
            let mut state = shared.lock();
            state.threads -= 1;
            let job = if state.threads == 0 { state.queue.pop_back() } else { None };
            drop(state);
            if let Some(job) = job {
                shared.run(job);
            }
        }
    }

    /// Whether a job has not ended yet. Once it is false, the results have been sent.
    pub(crate) fn is_busy(&self) -> bool {
        self.shared.unfinished.load(Ordering::Acquire) > 0
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.is_closed = true;
        let left = std::mem::take(&mut state.queue);
        drop(state);
        self.shared.work.notify_all();
        // Outside of the lock: dropping a job tells its waiter, and may run user code.
        drop(left);
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, job: BlockingJob) {
        job();
        self.unfinished.fetch_sub(1, Ordering::Release);
    }
}

/// The life of a pool thread.
fn work(shared: &Weak<Shared>) {
    let Some(shared) = shared.upgrade() else { return };
    let mut state = shared.lock();
    loop {
        if let Some(job) = state.queue.pop_front() {
            drop(state);
            shared.run(job);
            state = shared.lock();
            continue;
        }
        if state.is_closed {
            break;
        }
        state.idle += 1;
        let (guard, timeout) =
            shared.work.wait_timeout(state, IDLE_MAX).unwrap_or_else(PoisonError::into_inner);
        state = guard;
        state.idle -= 1;
        if timeout.timed_out() && state.queue.is_empty() {
            break;
        }
    }
    state.threads -= 1;
}
