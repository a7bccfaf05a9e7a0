//! The building blocks that the loom model checker replaces.
//!
//! Everything that threads share goes through these names, so that a build with
//! `--cfg loom` explores their interleavings. A normal build uses std and pays nothing.

#[cfg(loom)]
pub(crate) use loom::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicUsize, Ordering, fence},
    },
    thread,
};
#[cfg(not(loom))]
pub(crate) use std::{
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicUsize, Ordering, fence},
    },
    thread,
};

/// Locks `mutex`, also after a panic elsewhere.
///
/// No lock of this crate is held while user code runs, so a poisoned lock still
/// guards a consistent value.
#[cfg(not(loom))]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

/// Locks `mutex`.
#[cfg(loom)]
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> loom::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap()
}
