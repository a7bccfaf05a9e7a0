//! The driver: the one that waits. It owns the ring, turns it, and drains it at the end.

#![allow(unsafe_code, reason = "lends out the descriptor of the ring")]

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::rc::Rc;
use std::time::Duration;

use crate::backend::select::{self, Chosen};
use crate::backend::{Backend, BackendReport, Preference};
use crate::driver_core::Engine;
use crate::handle::Handle;
use crate::shared::Shared;
use crate::stats::Stats;

/// How to set up a driver.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// Which backend.
    pub backend: Preference,
    /// Entries of the submission queue, 8 to 32,768; the kernel rounds up to a power of two.
    /// The completion queue is at least four times as large.
    pub entries: u32,
    /// The ring refuses what Coronet does not use, for good (`EACCES`): other operations, other
    /// registrations. On epoll there is no ring to restrict.
    pub restrict: bool,
    /// How long dropping the driver may wait for the kernel to give everything back.
    pub drain_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        // 256 entries: enough for the burst of one turn. 5 s: a disk may be slow, a restart should not be.
        Self {
            backend: Preference::Auto,
            entries: 256,
            restrict: false,
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// One ring and everything in flight on it. `!Send`: it stays on the thread that made it.
///
/// Dropping it shuts it down, see [`Driver::shut_down`].
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<coronet_ring::Driver>();
/// ```
pub struct Driver {
    shared: Rc<Shared>,
    ring: Option<RawFd>,
    drain_timeout: Duration,
}

impl Driver {
    /// Sets up a ring, or what stands in for it: see [`Preference`].
    ///
    /// # Errors
    /// With [`Preference::Uring`] a [`Refusal`](crate::backend::Refusal): `PermissionDenied` where io_uring
    /// is blocked, `Unsupported` on a kernel without it, `OutOfMemory` when even a small ring
    /// exceeds the locked-memory limit. In any case, when descriptors ran out; `InvalidInput` for
    /// entries out of range, and for a `CORONET_MASK` that names what does not exist.
    pub fn new(config: Config) -> io::Result<Self> {
        if !(8..=32_768).contains(&config.entries) {
            let text = format!("a ring has 8 to 32768 entries, not {}", config.entries);
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        Ok(match select::open(config.backend, config.entries, config.restrict)? {
            Chosen::Uring(uring) => {
                let ring = Some(uring.ring().as_raw_fd());
                Self::start(Engine::Uring(uring), ring, config.drain_timeout)
            }
            Chosen::Epoll(epoll) => Self::start(Engine::Epoll(epoll), None, config.drain_timeout),
        })
    }

    /// Drives a backend of your own, such as a simulated kernel.
    pub fn with_backend(backend: Box<dyn Backend>, drain_timeout: Duration) -> Self {
        Self::start(Engine::Other(backend), None, drain_timeout)
    }

    fn start(engine: Engine, ring: Option<RawFd>, drain_timeout: Duration) -> Self {
        Self { shared: Rc::new(Shared::new(engine)), ring, drain_timeout }
    }

    /// The ring itself: what [`Request::MsgRing`](crate::Request::MsgRing) sends to. `None` on
    /// another backend, and once the driver has shut down. To wait, poll [`AsFd::as_fd`] instead.
    pub fn ring(&self) -> Option<BorrowedFd<'_>> {
        let ring = self.ring.filter(|_| !self.shared.is_over())?;
        // SAFETY: [ring-open] the ring closes in `shut_down` or `drop`, which both need the driver unborrowed.
        Some(unsafe { BorrowedFd::borrow_raw(ring) })
    }

    /// What submits operations.
    pub fn handle(&self) -> Handle {
        Handle { shared: self.shared.clone() }
    }

    /// Hands over what was submitted, waits for something to happen, and wakes whom it
    /// concerns. The number of completions.
    ///
    /// `None` waits without limit, zero only collects. It may return early, and with nothing.
    /// One system call; none if there is nothing to do, unless it is epoll, which has to be asked.
    ///
    /// # Errors
    /// Only if the ring cannot go on at all. Signals, deadlines and a kernel short of memory
    /// are not errors.
    pub fn turn(&self, timeout: Option<Duration>) -> io::Result<usize> {
        self.shared.turn(timeout)
    }

    /// True if a turn that does not wait could achieve something. Costs no system call on io_uring, and
    /// one now and then on epoll: what it does not see makes [`AsFd::as_fd`] readable.
    pub fn has_pending(&self) -> bool {
        self.shared.has_pending()
    }

    /// Which backend this is, and why.
    pub fn report(&self) -> BackendReport {
        self.shared.report()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// Ends everything: new operations are refused with `ECANCELED`, those in flight are
    /// cancelled, those that want to run to their end may do so for three quarters of
    /// `timeout`. Returns how many had to be leaked.
    ///
    /// What the kernel has not given back by then is never freed, nor is the ring: memory
    /// is lost, but nobody writes into memory that is somebody else's.
    pub fn shut_down(&mut self, timeout: Duration) -> usize {
        self.shared.shut_down(timeout)
    }
}

impl AsFd for Driver {
    /// Becomes readable when there is something to collect, sometimes when there is not. Before
    /// each wait on it, [`Driver::turn`] with zero until [`Driver::has_pending`] says no: what was
    /// submitted or collected since the last turn is not announced.
    ///
    /// On io_uring it is an eventfd, registered when it is first asked for; from then on each
    /// turn costs one system call more.
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.shared.wait_fd();
        // SAFETY: [ring-open] it closes in `shut_down` or `drop`, which both need the driver unborrowed.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        // What an earlier end had to leak is not waited for again.
        if !self.shared.is_closed() {
            let drain_timeout = self.drain_timeout;
            self.shut_down(drain_timeout);
        }
    }
}

impl std::fmt::Debug for Driver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Driver({})", self.report())
    }
}
