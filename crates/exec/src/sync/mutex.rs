//! A lock that may be held across `.await`.

use std::{
    cell::{RefCell, RefMut},
    error::Error,
    fmt,
    ops::{Deref, DerefMut},
};

use super::semaphore::{Semaphore, SemaphorePermit};

/// A lock for tasks of one core that may be held across `.await`.
///
/// First come first served. For data that is not borrowed across `.await`, `RefCell` is enough.
/// A panic does not poison it.
pub struct Mutex<T: ?Sized> {
    turn: Semaphore,
    /// Borrowed by whoever has the one permit, so the borrow never fails.
    value: RefCell<T>,
}

impl<T> Mutex<T> {
    /// An unlocked mutex.
    pub fn new(value: T) -> Mutex<T> {
        Mutex { turn: Semaphore::new(1), value: RefCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> Mutex<T> {
    /// Locks it.
    ///
    /// # Cancellation
    /// Safe. The lock goes to the next in line; the place in the line is lost.
    ///
    /// # Examples
    /// ```
    /// # use coronet_exec::{Config, Executor, ThreadPark, sync::Mutex};
    /// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
    /// let count = Mutex::new(1);
    /// *count.lock().await += 1;
    /// assert_eq!(count.into_inner(), 2);
    /// # });
    /// ```
    pub async fn lock(&self) -> MutexGuard<'_, T> {
        let Ok(turn) = self.turn.acquire().await else {
            unreachable!("the semaphore of a mutex is never closed")
        };
        MutexGuard { value: self.value.borrow_mut(), turn }
    }

    /// Locks it if it is free and nobody waits.
    ///
    /// # Errors
    /// If it is not.
    pub fn try_lock(&self) -> Result<MutexGuard<'_, T>, TryLockError> {
        let turn = self.turn.try_acquire().map_err(|_| TryLockError)?;
        Ok(MutexGuard { value: self.value.borrow_mut(), turn })
    }

    /// The value; nobody else can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for Mutex<T> {
    fn default() -> Mutex<T> {
        Mutex::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for Mutex<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Mutex").field(&&self.value).finish()
    }
}

/// The lock; dropping it unlocks.
#[must_use = "dropping the guard unlocks"]
pub struct MutexGuard<'a, T: ?Sized> {
    /// Before the turn: the next one borrows as soon as it has the permit.
    value: RefMut<'a, T>,
    #[expect(dead_code, reason = "held for its destructor")]
    turn: SemaphorePermit<'a>,
}

impl<T: ?Sized> Deref for MutexGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for MutexGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for MutexGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

/// The lock is held by somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TryLockError;

impl fmt::Display for TryLockError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the lock is held by somebody else")
    }
}

impl Error for TryLockError {}
