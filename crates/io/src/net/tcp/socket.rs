//! What both engines of a stream share: its descriptor, and the driver of its thread.

use std::rc::Rc;

use coronet_ring::{Handle, SharedFd};

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
}
