//! What the tests of this crate share: a scripted backend, operations whose memory is
//! watched, and the small operations that the tests on a real ring use.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

pub mod kernel;
pub mod ops;
pub mod script;
pub mod watched;

use std::cell::RefCell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

/// Polls once, with a waker that does nothing.
pub fn poll<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    poll_with(future, Waker::noop())
}

/// Polls once with this waker.
pub fn poll_with<F: Future + Unpin>(future: &mut F, waker: &Waker) -> Poll<F::Output> {
    Pin::new(future).poll(&mut Context::from_waker(waker))
}

/// What a future that must be ready resolved with.
#[track_caller]
pub fn ready<F: Future + Unpin>(future: &mut F) -> F::Output {
    match poll(future) {
        Poll::Ready(output) => output,
        Poll::Pending => panic!("it is not ready"),
    }
}

/// A waker that counts.
#[derive(Default)]
pub struct Bell(AtomicUsize);

impl Bell {
    pub fn new() -> (Arc<Self>, Waker) {
        let bell = Arc::new(Self::default());
        (bell.clone(), bell.into())
    }

    pub fn rings(&self) -> usize {
        self.0.load(Ordering::SeqCst)
    }
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

type Work = Box<dyn FnMut()>;

thread_local! {
    static ON_WAKE: RefCell<Vec<Work>> = const { RefCell::new(Vec::new()) };
}

/// A waker that does `work` from within the wake, on this thread.
pub fn waker_that(work: impl FnMut() + 'static) -> Waker {
    struct Worker(usize);
    impl Wake for Worker {
        fn wake(self: Arc<Self>) {
            let idle: Work = Box::new(|| ());
            let mut work = ON_WAKE.with_borrow_mut(|all| std::mem::replace(&mut all[self.0], idle));
            work();
            ON_WAKE.with_borrow_mut(|all| all[self.0] = work);
        }
    }
    let number = ON_WAKE.with_borrow_mut(|all| {
        all.push(Box::new(work));
        all.len() - 1
    });
    Arc::new(Worker(number)).into()
}

/// Forgets what the wakers of this thread would do, and the handles they hold.
pub fn forget_wakers() {
    let all = ON_WAKE.take();
    drop(all);
}
