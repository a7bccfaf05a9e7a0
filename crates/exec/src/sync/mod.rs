//! Ways for tasks to wait for each other.
//!
//! Everything directly in this module lives on one core: no atomics, `!Send` values welcome. [`cross`]
//! holds the channels between cores and threads.

mod barrier;
pub mod cross;
mod error;
mod event;
pub mod mpsc;
mod mutex;
mod notify;
pub mod oneshot;
mod rwlock;
mod semaphore;
mod waiters;

pub use self::{
    barrier::{Barrier, BarrierWait, BarrierWaitResult},
    error::{AcquireError, RecvError, SendError, TryAcquireError, TryRecvError, TrySendError},
    event::{Event, EventWait},
    mutex::{Mutex, MutexGuard, TryLockError},
    notify::{Notified, Notify},
    rwlock::{RwLock, RwLockReadGuard, RwLockWriteGuard},
    semaphore::{Acquire, Semaphore, SemaphorePermit},
};
