//! What both engines of a stream share: its descriptor, and the driver of its thread.

use std::rc::Rc;

use coronet_ring::{Handle, SharedFd, System};

use crate::context::Context;

/// One socket on one driver.
pub(super) struct Socket {
    pub(super) context: Rc<Context>,
    pub(super) fd: SharedFd,
}

impl Socket {
    pub(super) fn handle(&self) -> &Handle {
        self.context.handle()
    }

    /// The kernel behind the driver, for what goes past the ring.
    pub(super) fn system(&self) -> &dyn System {
        self.handle().system()
    }
}
