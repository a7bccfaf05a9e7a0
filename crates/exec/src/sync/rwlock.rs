//! A lock for one writer or many readers that may be held across `.await`.

use std::{
    cell::{Ref, RefCell, RefMut},
    fmt,
    ops::{Deref, DerefMut},
};

use super::{
    mutex::TryLockError,
    semaphore::{Semaphore, SemaphorePermit},
};

/// Each reader takes one permit, a writer all of them. Far more than there can be readers
/// (`RefCell` counts them in an `isize`).
const ALL: usize = usize::MAX >> 2;

/// A lock for one writer or many readers of one core.
///
/// First come first served: readers that come after a waiting writer wait too, so no writer
/// starves. A panic does not poison it.
pub struct RwLock<T: ?Sized> {
    turn: Semaphore,
    /// Borrowed as the permits allow, so a borrow never fails.
    value: RefCell<T>,
}

impl<T> RwLock<T> {
    /// An unlocked lock.
    pub fn new(value: T) -> RwLock<T> {
        RwLock { turn: Semaphore::new(ALL), value: RefCell::new(value) }
    }

    /// The value.
    pub fn into_inner(self) -> T {
        self.value.into_inner()
    }
}

impl<T: ?Sized> RwLock<T> {
    /// Locks it for reading.
    ///
    /// # Cancellation
    /// Safe. The place in the line is lost.
    pub async fn read(&self) -> RwLockReadGuard<'_, T> {
        let Ok(turn) = self.turn.acquire().await else {
            unreachable!("the semaphore of a lock is never closed")
        };
        RwLockReadGuard { value: self.value.borrow(), turn }
    }

    /// Locks it for writing.
    ///
    /// # Cancellation
    /// Safe. The place in the line is lost.
    pub async fn write(&self) -> RwLockWriteGuard<'_, T> {
        let Ok(turn) = self.turn.acquire_many(ALL).await else {
            unreachable!("the semaphore of a lock is never closed")
        };
        RwLockWriteGuard { value: self.value.borrow_mut(), turn }
    }

    /// Locks it for reading if that needs no waiting.
    ///
    /// # Errors
    /// If a writer has it or waits for it.
    pub fn try_read(&self) -> Result<RwLockReadGuard<'_, T>, TryLockError> {
        let turn = self.turn.try_acquire().map_err(|_| TryLockError)?;
        Ok(RwLockReadGuard { value: self.value.borrow(), turn })
    }

    /// Locks it for writing if that needs no waiting.
    ///
    /// # Errors
    /// If anybody has it or waits for it.
    pub fn try_write(&self) -> Result<RwLockWriteGuard<'_, T>, TryLockError> {
        let turn = self.turn.try_acquire_many(ALL).map_err(|_| TryLockError)?;
        Ok(RwLockWriteGuard { value: self.value.borrow_mut(), turn })
    }

    /// The value; nobody else can have the lock.
    pub fn get_mut(&mut self) -> &mut T {
        self.value.get_mut()
    }
}

impl<T: Default> Default for RwLock<T> {
    fn default() -> RwLock<T> {
        RwLock::new(T::default())
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLock<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("RwLock").field(&&self.value).finish()
    }
}

/// The lock for reading; dropping it unlocks.
#[must_use = "dropping the guard unlocks"]
pub struct RwLockReadGuard<'a, T: ?Sized> {
    /// Before the turn: the next one borrows as soon as it has the permit.
    value: Ref<'a, T>,
    #[expect(dead_code, reason = "held for its destructor")]
    turn: SemaphorePermit<'a>,
}

/// The lock for writing; dropping it unlocks.
#[must_use = "dropping the guard unlocks"]
pub struct RwLockWriteGuard<'a, T: ?Sized> {
    /// Before the turn: the next one borrows as soon as it has the permit.
    value: RefMut<'a, T>,
    #[expect(dead_code, reason = "held for its destructor")]
    turn: SemaphorePermit<'a>,
}

impl<T: ?Sized> Deref for RwLockReadGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> Deref for RwLockWriteGuard<'_, T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.value
    }
}

impl<T: ?Sized> DerefMut for RwLockWriteGuard<'_, T> {
    fn deref_mut(&mut self) -> &mut T {
        &mut self.value
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockReadGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}

impl<T: ?Sized + fmt::Debug> fmt::Debug for RwLockWriteGuard<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        (**self).fmt(f)
    }
}
