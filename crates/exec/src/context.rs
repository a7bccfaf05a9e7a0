//! The thread's current core: the only thread-local of this crate.
//!
//! It answers three questions: is this the thread of that core (by address, one load), what
//! is left of the running task's budget, and which services (spawn, timers, ...) are here.
//! It lies below everything that uses it, so it holds the services without knowing their
//! type; `services.rs` gives it back.

use std::{
    any::Any,
    cell::{Cell, RefCell},
    mem::ManuallyDrop,
    ptr,
    rc::Rc,
};

/// What a thread knows about the core it runs.
pub(crate) struct Context {
    /// Address of the core's scheduler; null outside of a core.
    home: Cell<*const ()>,
    /// The running task, or 0.
    pub(crate) task: Cell<u64>,
    /// Operations that the running task may still do before it should yield.
    pub(crate) budget: Cell<u32>,
    /// `ManuallyDrop` keeps the thread-local free of a destructor, and so of the check
    /// "already destroyed?" on each access. [`Entered`] takes the value out.
    services: RefCell<ManuallyDrop<Option<Rc<dyn Any>>>>,
}

impl Context {
    const fn new() -> Context {
        Context {
            home: Cell::new(ptr::null()),
            task: Cell::new(0),
            budget: Cell::new(u32::MAX),
            services: RefCell::new(ManuallyDrop::new(None)),
        }
    }
}

#[cfg(not(loom))]
thread_local! {
    static CONTEXT: Context = const { Context::new() };
}

#[cfg(loom)]
loom::thread_local! {
    static CONTEXT: Context = Context::new();
}

/// Whether this thread runs the core whose scheduler is at `home` right now.
#[inline]
pub(crate) fn is_home(home: *const ()) -> bool {
    CONTEXT.with(|context| ptr::eq(context.home.get(), home))
}

/// Gives `f` this thread's context.
#[inline]
pub(crate) fn with<R>(f: impl FnOnce(&Context) -> R) -> R {
    CONTEXT.with(f)
}

/// Gives `f` the services of this thread's core, if it runs one.
#[inline]
pub(crate) fn with_services<R>(f: impl FnOnce(Option<&Rc<dyn Any>>) -> R) -> R {
    CONTEXT.with(|context| f(context.services.borrow().as_ref()))
}

/// Makes a core the thread's current one until the guard is dropped.
///
/// `None` if the thread already runs a core.
pub(crate) fn enter(home: *const (), services: Rc<dyn Any>) -> Option<Entered> {
    CONTEXT.with(|context| {
        if !context.home.get().is_null() {
            return None;
        }
        context.home.set(home);
        context.services.replace(ManuallyDrop::new(Some(services)));
        Some(Entered { not_send: std::marker::PhantomData })
    })
}

/// The core is current while this lives.
pub(crate) struct Entered {
    not_send: std::marker::PhantomData<*const ()>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let services = CONTEXT.with(|context| {
            context.home.set(ptr::null());
            context.task.set(0);
            context.budget.set(u32::MAX);
            context.services.replace(ManuallyDrop::new(None))
        });
        // Outside of the borrow: the last reference may run destructors.
        drop(ManuallyDrop::into_inner(services));
    }
}
