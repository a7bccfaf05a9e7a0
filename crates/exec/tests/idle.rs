//! What a core does while nothing can run.

#![cfg(not(loom))]

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc as std_mpsc,
    },
    task::{Poll, Waker},
    time::Duration,
};

use coronet_exec::{Config, Executor, Idle, Park, Unpark};

/// A park that never sleeps, and counts: how often it was asked to look, to sleep, and to wake up.
#[derive(Clone, Default)]
struct Watched {
    looks: Arc<AtomicUsize>,
    sleeps: Arc<AtomicUsize>,
    unparks: Arc<AtomicUsize>,
}

struct CountUnparks(Arc<AtomicUsize>);

impl Unpark for CountUnparks {
    fn unpark(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

impl Park for Watched {
    fn park(&mut self, timeout: Option<Duration>) -> io::Result<()> {
        if timeout == Some(Duration::ZERO) {
            self.looks.fetch_add(1, Ordering::SeqCst);
        } else {
            self.sleeps.fetch_add(1, Ordering::SeqCst);
        }
        Ok(())
    }

    // So it is not asked to look while tasks run.
    fn has_pending(&self) -> bool {
        false
    }

    fn unparker(&self) -> Arc<dyn Unpark> {
        Arc::new(CountUnparks(self.unparks.clone()))
    }
}

fn executor(park: &Watched, idle: Idle) -> Executor {
    let mut config = Config::default();
    config.idle = idle;
    Executor::new(Box::new(park.clone()), config)
}

/// Waits once, for a thread that wakes it when the count has got so far.
fn wait_for(executor: &Executor, count: &Arc<AtomicUsize>, after: usize) {
    let (send, receive) = std_mpsc::channel::<Waker>();
    let count = count.clone();
    let thread = std::thread::spawn(move || {
        let waker = receive.recv().expect("a waker");
        while count.load(Ordering::SeqCst) < after {
            std::hint::spin_loop();
        }
        waker.wake();
    });
    let mut has_waited = false;
    executor.block_on(std::future::poll_fn(|cx| {
        if !has_waited {
            has_waited = true;
            send.send(cx.waker().clone()).expect("the thread waits for it");
            return Poll::Pending;
        }
        Poll::Ready(())
    }));
    thread.join().expect("the thread");
}

#[test]
fn a_core_that_looks_on_is_woken_by_another_thread_without_an_unpark() {
    let park = Watched::default();
    let executor = executor(&park, Idle::Spin(Duration::from_secs(60)));
    wait_for(&executor, &park.looks, 100);
    assert_eq!((park.sleeps.load(Ordering::SeqCst), park.unparks.load(Ordering::SeqCst)), (0, 0));
}

#[test]
fn a_core_that_looked_on_in_vain_sleeps() {
    let park = Watched::default();
    let executor = executor(&park, Idle::Spin(Duration::from_micros(1)));
    wait_for(&executor, &park.sleeps, 1);
    assert!(park.looks.load(Ordering::SeqCst) > 0, "it looked on before");
}

#[test]
fn a_core_that_sleeps_at_once_never_looks_on() {
    let park = Watched::default();
    let executor = executor(&park, Idle::Sleep);
    wait_for(&executor, &park.sleeps, 3);
    assert_eq!(park.looks.load(Ordering::SeqCst), 0);
}
