//! Pinning the calling thread to one CPU.

use std::io;

use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// Lets the calling thread, and what it starts from now on, run on `cpu` only.
///
/// # Errors
/// `EINVAL` if there is no such CPU, or it is not allowed here.
pub fn pin(cpu: usize) -> io::Result<()> {
    if cpu >= CpuSet::MAX_CPU {
        return Err(io::Error::from(rustix::io::Errno::INVAL));
    }
    let mut set = CpuSet::new();
    set.set(cpu);
    Ok(sched_setaffinity(None, &set)?)
}

/// Runs `action` pinned to `cpu`, then restores the affinity.
///
/// A child process that `action` starts stays on `cpu`: affinity is inherited.
///
/// # Errors
/// Those of [`pin`].
pub fn pinned<T>(cpu: usize, action: impl FnOnce() -> T) -> io::Result<T> {
    let before = sched_getaffinity(None)?;
    pin(cpu)?;
    let result = action();
    sched_setaffinity(None, &before)?;
    Ok(result)
}
