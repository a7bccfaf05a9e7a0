//! What ends a park from another thread: an eventfd that the ring polls.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, OnceLock};

use rustix::event::{EventfdFlags, eventfd};

/// Ends the current or the next park of one driver. Cheap to clone, usable on any thread.
///
/// Outlives its driver: unparking one that is gone does nothing.
#[derive(Clone, Debug)]
pub struct Unparker(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    fd: OwnedFd,
    /// Of a driver in a foreign event loop: what that loop waits for.
    bell: OnceLock<Unparker>,
}

impl Unparker {
    /// Makes one, for a backend of your own, which polls its descriptor.
    ///
    /// # Errors
    /// What `eventfd(2)` says: too many descriptors, or no memory.
    pub fn new() -> io::Result<Self> {
        let fd = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self(Arc::new(Inner { fd, bell: OnceLock::new() })))
    }

    /// Ends the current or the next park. One system call; two if a foreign event loop waits for the driver.
    pub fn unpark(&self) {
        // The only failure is a full counter (2^64 - 2 unparks): then it is readable anyway.
        let _ = rustix::io::write(&self.0.fd, &1_u64.to_ne_bytes());
        if let Some(bell) = self.0.bell.get() {
            bell.unpark();
        }
    }

    /// From now on every unpark rings `bell` too. The ring's poll of this eventfd would not: Linux
    /// (6.18) signals a ring's eventfd from within the signal of another once, and never again.
    pub(crate) fn hang(&self, bell: &Self) {
        // A driver hangs one bell.
        let _ = self.0.bell.set(bell.clone());
    }

    /// Makes its descriptor unreadable again. Only the one who parks does.
    pub fn reset(&self) {
        let mut count = [0_u8; 8];
        // Not readable means already reset.
        let _ = rustix::io::read(&self.0.fd, &mut count);
    }
}

impl AsFd for Unparker {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.fd.as_fd()
    }
}
