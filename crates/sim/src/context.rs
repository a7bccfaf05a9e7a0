//! The simulation that runs on this thread: the only thread-local of this crate.

use std::cell::RefCell;
use std::rc::Rc;

/// What the layers above know as the world. Held without its type, because it stands above.
pub(crate) type Current = Rc<dyn std::any::Any>;

thread_local! {
    static CURRENT: RefCell<Option<Current>> = const { RefCell::new(None) };
}

/// Makes `world` the one of this thread until the guard is dropped.
pub(crate) fn enter(world: Current) -> Entered {
    Entered { before: CURRENT.with(|current| current.borrow_mut().replace(world)) }
}

/// Ends what [`enter`] began.
#[must_use]
pub(crate) struct Entered {
    before: Option<Current>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let before = self.before.take();
        let _ = CURRENT.try_with(|current| std::mem::replace(&mut *current.borrow_mut(), before));
    }
}

pub(crate) fn current() -> Option<Current> {
    CURRENT.with(|current| current.borrow().clone())
}
