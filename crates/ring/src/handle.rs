//! What submits operations: cheap to clone, bound to the thread of its driver.

use std::io;
use std::os::fd::OwnedFd;
use std::rc::Rc;

use crate::backend::{BackendReport, Capabilities, Unparker};
use crate::fd::SharedFd;
use crate::future::OpFuture;
use crate::op::{MultiOp, Op};
use crate::pool::{Group, GroupConfig};
use crate::shared::Shared;
use crate::stats::Stats;
use crate::stream::OpStream;
use crate::system::System;

/// Submits operations to one driver. `!Send`: a ring belongs to one thread.
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<coronet_ring::Handle>();
/// ```
#[derive(Clone)]
pub struct Handle {
    pub(crate) shared: Rc<Shared>,
}

impl Handle {
    /// Starts an operation. It goes to the kernel with the next turn, polled or not.
    ///
    /// # Cancellation
    /// Dropping the future does what [`Op::ON_DROP`] says; a late result is dropped.
    ///
    /// After the driver shut down, the future resolves with `ECANCELED` and the buffer.
    #[inline]
    pub fn submit<O: Op>(&self, op: O) -> OpFuture<O> {
        let token = self.shared.submit(|table| table.insert(op));
        OpFuture::new(self.shared.clone(), token)
    }

    /// Sends what `send` says at once, where that is the faster way and nothing has to be waited for; submits it
    /// otherwise. With epoll that is so for all sends, on a ring for those that are alone in their turn.
    ///
    /// Sends of one socket that overlap may overtake each other: wait for the one before.
    ///
    /// It is for sends: whatever else is submitted. [`Op::request`] may be asked twice, the first time where
    /// the operation stands now.
    ///
    /// # Cancellation
    /// As for [`Self::submit`].
    #[inline]
    pub fn send<O: Op>(&self, mut send: O) -> Started<O> {
        match self.shared.send_now(&mut send) {
            Ok(done) => Started::Over(send.finish(done)),
            Err(sent) => {
                let token = self.shared.submit_rest(sent, |table| table.insert(send));
                Started::UnderWay(OpFuture::new(self.shared.clone(), token))
            }
        }
    }

    /// Starts a multishot operation.
    ///
    /// # Cancellation
    /// Dropping the stream asks the kernel to end the operation; items that nobody took are dropped.
    ///
    /// # Panics
    /// If its request is not a multishot one.
    pub fn submit_multi<O: MultiOp>(&self, op: O) -> OpStream<O> {
        let token = self.shared.submit(|table| table.insert_multi(op));
        OpStream::new(self.shared.clone(), token)
    }

    /// Makes a group of buffers that the kernel picks from. It lives as long as the driver.
    ///
    /// # Errors
    /// `InvalidInput` for sizes out of range, `Unsupported` or `InvalidInput` from a kernel
    /// that has no such groups, `OutOfMemory`.
    pub fn open_group(&self, config: GroupConfig) -> io::Result<Group> {
        self.shared.open_group(config)
    }

    /// A clone of `fd` that names its file faster: for a descriptor that many operations will name.
    ///
    /// The ring keeps the file in a table of its own, until the last clone of `fd` is dropped. It costs
    /// one system call now, and one then; each send in between costs the kernel 1-2 % less. `None`
    /// where there is no such table (kernel before 5.19, another backend), or no room in it.
    #[must_use]
    pub fn hold(&self, fd: &SharedFd) -> Option<SharedFd> {
        self.shared.hold(fd)
    }

    /// What the kernel can do.
    pub fn capabilities(&self) -> Capabilities {
        self.report().capabilities
    }

    /// Which backend this is, and why.
    pub fn report(&self) -> BackendReport {
        self.shared.report()
    }

    /// The kernel behind the driver, for the calls that go past the ring.
    pub fn system(&self) -> &dyn System {
        self.shared.system()
    }

    /// What ends a park of this driver from another thread.
    pub fn unparker(&self) -> Unparker {
        self.shared.unparker()
    }

    /// A descriptor of one's own that becomes readable as that of the driver does: see the `AsFd` of
    /// [`Driver`](crate::Driver), whose rules hold.
    ///
    /// # Errors
    /// When the process has no descriptor left, or the ring cannot ring an eventfd: then nothing would wake
    /// who polls. `NotConnected` once the driver shut down.
    pub fn wait_fd(&self) -> io::Result<OwnedFd> {
        self.shared.owned_wait_fd()
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// True if a turn that does not wait could achieve something; as [`Driver::has_pending`](crate::Driver::has_pending).
    pub fn has_pending(&self) -> bool {
        self.shared.has_pending()
    }

    /// True once the driver shut down.
    pub fn is_closed(&self) -> bool {
        self.shared.is_closed()
    }
}

/// What became of a send: see [`Handle::send`].
#[derive(Debug)]
#[must_use = "dropping it cancels the operation or lets it run unseen"]
pub enum Started<O: Op> {
    /// It is over.
    Over(O::Output),
    /// It was submitted.
    UnderWay(OpFuture<O>),
}

impl std::fmt::Debug for Handle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Handle({})", self.report())
    }
}
