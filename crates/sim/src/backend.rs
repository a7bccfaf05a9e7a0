//! The simulated kernel as a backend of the ring driver, and as the system behind it.

#![allow(unsafe_code, reason = "vouches for the simulated kernel's side of each loan")]

use std::cell::RefCell;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use coronet_ring::backend::{Backend, Batch, Counters, Lent, Submitted, Unparker};
use coronet_ring::pool::{GroupId, GroupMemory};
use coronet_ring::{BackendReport, Capabilities, SocketOption, System, Token};

use crate::kernel::{HostId, Kernel, RingId};

/// One ring of the simulated kernel.
///
/// Dropping it closes the ring, and as on Linux its operations end some time *later*: a program
/// that frees lent memory then is wrong, and a sanitizer says so.
pub(crate) struct SimBackend {
    kernel: Rc<RefCell<Kernel>>,
    host: HostId,
    ring: RingId,
    unparker: Unparker,
    bell: (OwnedFd, OwnedFd),
    /// There is a byte in `bell`.
    rings: bool,
    report: BackendReport,
}

impl SimBackend {
    pub(crate) fn new(kernel: &Rc<RefCell<Kernel>>, host: HostId) -> io::Result<Self> {
        let mut inner = kernel.borrow_mut();
        let unparker = Unparker::new()?;
        let (ring, bell) = inner.open_ring(host, &unparker)?;
        let mut capabilities = Capabilities::default();
        // Kernels of all ages: what a program does without is a choice of the tape.
        let mut has = || inner.tape.below(8) < 6;
        capabilities.poll_multi = has();
        capabilities.buffer_groups = has();
        capabilities.accept_multi = has();
        capabilities.recv_multi = has();
        capabilities.bundles = has();
        capabilities.incremental = capabilities.buffer_groups && has();
        capabilities.msg_ring = true;
        // As old as what came with them, so that older seeds mean what they meant.
        capabilities.send_zc = capabilities.recv_multi;
        capabilities.send_zc_report =
            capabilities.send_zc && (capabilities.bundles || capabilities.incremental);
        drop(inner);
        let why = "the kernel is simulated".to_owned();
        let report = BackendReport { name: "simulated", why, capabilities };
        Ok(Self { kernel: kernel.clone(), host, ring, unparker, bell, rings: false, report })
    }

    /// Makes `as_fd` readable if there is something to collect, and silent if not.
    fn ring_bell(&mut self) {
        let is_due = self.kernel.borrow().has_pending(self.ring);
        if is_due == self.rings {
            return;
        }
        self.rings = is_due;
        if is_due {
            let _ = rustix::io::write(&self.bell.1, &[1]);
        } else {
            let _ = rustix::io::read(&self.bell.0, &mut [0]);
        }
    }
}

// SAFETY: [loan-pinned] the kernel touches lent memory in `kernel/memory.rs` alone, and only for an
// operation that is not done; an operation is done before its last completion is posted, once.
// [done-genuine] counts are of bytes that were copied, descriptors were made for the operation.
// [ring-open] `bell` owns the descriptor of `as_fd`.
unsafe impl Backend for SimBackend {
    fn submit(&mut self, token: Token, lent: Lent) -> Submitted {
        self.kernel.borrow_mut().submit(self.ring, token, lent)
    }

    fn cancel(&mut self, token: Token) -> Submitted {
        self.kernel.borrow_mut().submit_cancel(self.ring, token)
    }

    fn park(&mut self, timeout: Option<Duration>, batch: &mut Batch) -> io::Result<()> {
        let entered = self.kernel.borrow_mut().enter(self.ring, timeout, batch);
        self.ring_bell();
        entered
    }

    fn has_pending(&mut self) -> bool {
        self.kernel.borrow().has_pending(self.ring)
    }

    fn unparker(&self) -> Unparker {
        self.unparker.clone()
    }

    fn open_group(&mut self, group: GroupId, memory: &GroupMemory, incremental: bool) -> io::Result<()> {
        if !self.report.capabilities.buffer_groups || (incremental && !self.report.capabilities.incremental) {
            return Err(io::Error::from_raw_os_error(libc::EINVAL));
        }
        self.kernel.borrow_mut().open_group(self.ring, group, memory, incremental);
        Ok(())
    }

    fn close_group(&mut self, group: GroupId) {
        self.kernel.borrow_mut().close_group(self.ring, group);
    }

    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.0.as_fd()
    }

    fn report(&self) -> &BackendReport {
        &self.report
    }

    fn counters(&self) -> Counters {
        let enters = self.kernel.borrow().work.rings.get(&self.ring).map_or(0, |ring| ring.enters);
        Counters { enters, ..Counters::default() }
    }

    fn system(&self) -> Rc<dyn System> {
        Rc::new(SimSystem { kernel: self.kernel.clone(), host: self.host })
    }
}

impl Drop for SimBackend {
    fn drop(&mut self) {
        self.kernel.borrow_mut().close_ring(self.ring);
    }
}

/// The calls of one host that go past its ring.
struct SimSystem {
    kernel: Rc<RefCell<Kernel>>,
    host: HostId,
}

impl System for SimSystem {
    fn now(&self) -> Duration {
        self.kernel.borrow().now()
    }

    fn tcp_socket(&self, _address: SocketAddr) -> io::Result<OwnedFd> {
        self.kernel.borrow_mut().tcp_socket(self.host)
    }

    fn bind(&self, socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
        self.kernel.borrow_mut().bind(socket, address)
    }

    fn listen(&self, socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
        self.kernel.borrow_mut().listen(socket, backlog)
    }

    fn local_addr(&self, socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        self.kernel.borrow().local_addr(socket)
    }

    fn peer_addr(&self, socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        self.kernel.borrow().peer_addr(socket)
    }

    fn shutdown(&self, socket: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
        self.kernel.borrow_mut().shutdown(socket, how)
    }

    fn set_option(&self, socket: BorrowedFd<'_>, option: SocketOption) -> io::Result<()> {
        self.kernel.borrow_mut().set_option(socket, option)
    }

    fn nodelay(&self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        self.kernel.borrow().nodelay(socket)
    }

    fn has_waiting(&self, listener: BorrowedFd<'_>) -> bool {
        self.kernel.borrow().has_waiting(listener)
    }

    fn look_up(&self, name: &str) -> Option<io::Result<Vec<SocketAddr>>> {
        let found = self.kernel.borrow().network.look_up(self.host, name);
        Some(found.ok_or_else(|| {
            let text = "no host of the simulation has that name, or the text is no host:port";
            io::Error::new(io::ErrorKind::NotFound, text)
        }))
    }
}
