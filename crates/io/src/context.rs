//! The driver of this thread: what sockets made here submit to.

use std::cell::RefCell;
use std::rc::Rc;

use coronet_ring::{Group, GroupConfig, Handle};

use crate::pipes::Pipes;
use crate::receives::Receives;

/// What the pool of a thread may become. Behind it streams go on with buffers of their own: so it bounds what can be
/// kept from others, not how many streams there are.
const POOL_BYTES_MAX: u32 = 16 * 1024 * 1024;

thread_local! {
    static CURRENT: RefCell<Option<Rc<Context>>> = const { RefCell::new(None) };
}

/// One driver, and the buffers that its streams share.
#[derive(Debug)]
pub struct Context {
    handle: Handle,
    receive_group: Option<Group>,
    pipes: Pipes,
    /// One receive brings at most one buffer, or several if it is told to: streams are told.
    bundles: bool,
    /// Zero-copy sends, and whether the kernel says that it copied them.
    zero_copy: (bool, bool),
    /// The driver makes the system calls itself when a poller says so: it has no ring.
    polls: bool,
    receives: Receives,
}

impl Context {
    /// Opens the group that streams receive into, where the kernel has such groups.
    pub fn new(handle: Handle) -> Self {
        let capabilities = handle.capabilities();
        // Incremental buffers pack small messages densely and take large ones whole: one layout
        // for both (docs/BENCHMARKS.md). Without them, 16 KiB x 64 stays within the second-level cache.
        let (buffer_bytes, incremental) =
            if capabilities.incremental { (256 * 1024, true) } else { (16 * 1024, false) };
        let buffers = if incremental { 8 } else { 64 };
        let buffers_max = (POOL_BYTES_MAX / buffer_bytes) as u16;
        let config = GroupConfig { buffers, buffers_max, buffer_bytes, incremental };
        let usable = capabilities.buffer_groups && capabilities.recv_multi;
        // Without a group, streams receive into buffers of their own.
        let receive_group = if usable { handle.open_group(config).ok() } else { None };
        let bundles = capabilities.bundles && !capabilities.incremental && receive_group.is_some();
        let zero_copy = (capabilities.send_zc, capabilities.send_zc_report);
        let polls = handle.report().name == "epoll";
        let (pipes, receives) = (Pipes::default(), Receives::default());
        Self { handle, receive_group, pipes, bundles, zero_copy, polls, receives }
    }

    /// What submits to the driver.
    pub fn handle(&self) -> &Handle {
        &self.handle
    }

    pub(crate) fn receive_group(&self) -> Option<&Group> {
        self.receive_group.as_ref()
    }

    /// True if a stream is better received in bundles.
    #[inline]
    pub(crate) fn bundles(&self) -> bool {
        self.bundles
    }

    /// True if bytes can be lent to the network.
    pub(crate) fn lends(&self) -> bool {
        self.zero_copy.0
    }

    /// True if the kernel says of lent bytes whether it copied them all the same.
    pub(crate) fn reports_copies(&self) -> bool {
        self.zero_copy.1
    }

    /// True if there is no ring: a system call that waits would hold the core up.
    pub(crate) fn polls(&self) -> bool {
        self.polls
    }

    /// True if the traffic of a stream decides how it is received.
    pub(crate) fn adapts(&self) -> bool {
        self.bundles || self.receive_group.is_none()
    }

    /// Bytes of the largest piece that a stream receives at once.
    pub(crate) fn piece_bytes_max(&self) -> usize {
        self.receive_group.as_ref().map_or(usize::MAX, |group| group.buffer_bytes() as usize)
    }

    /// How the streams of this thread receive.
    pub fn receives(&self) -> &Receives {
        &self.receives
    }

    pub(crate) fn pipes(&self) -> &Pipes {
        &self.pipes
    }
}

/// Makes `context` the one of this thread until the guard is dropped.
pub fn enter(context: Rc<Context>) -> Entered {
    let before = CURRENT.with(|current| current.borrow_mut().replace(context));
    Entered { before }
}

/// Ends what [`enter`] began.
#[derive(Debug)]
#[must_use]
pub struct Entered {
    before: Option<Rc<Context>>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        let current = CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
        drop(current);
    }
}

/// The context of this thread.
///
/// # Panics
/// Outside of a runtime.
#[track_caller]
pub fn current() -> Rc<Context> {
    try_current().expect("no driver on this thread: sockets are used inside of a runtime")
}

/// The context of this thread, if there is one.
pub fn try_current() -> Option<Rc<Context>> {
    CURRENT.try_with(|current| current.borrow().clone()).ok().flatten()
}
