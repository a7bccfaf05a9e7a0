//! What somebody keeps of a pool, counted where it matters: while the pool is larger than it should be.

use std::cell::Cell;
use std::rc::Rc;

/// Bytes of pooled buffers that leases charged to it keep from others. Cheap to clone; clones are one account.
#[derive(Clone, Debug, Default)]
pub struct Account(Rc<Cell<u64>>);

impl Account {
    /// What is kept now.
    pub fn held(&self) -> u64 {
        self.0.get()
    }

    pub(super) fn charge(&self, bytes: u32) -> Rc<Charge> {
        self.0.set(self.held() + u64::from(bytes));
        Rc::new(Charge { account: self.clone(), bytes })
    }
}

/// What one lease, and the parts of it, keep. It is taken off the account with the last of them.
pub(super) struct Charge {
    account: Account,
    bytes: u32,
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.account.0.set(self.account.held() - u64::from(self.bytes));
    }
}
