//! What a core does while nothing can run.

#![cfg(not(loom))]

use std::{
    cell::Cell,
    io,
    rc::Rc,
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
    sleeps: Rc<Cell<usize>>,
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
            self.sleeps.set(self.sleeps.get() + 1);
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

/// Wakes the waker it is sent, once the park has been asked so often to look.
fn waker_thread(looks: &Arc<AtomicUsize>, after: usize) -> std_mpsc::Sender<Waker> {
    let (send, receive) = std_mpsc::channel::<Waker>();
    let looks = looks.clone();
    std::thread::spawn(move || {
        let waker = receive.recv().expect("a waker");
        while looks.load(Ordering::SeqCst) < after {
            std::hint::spin_loop();
        }
        waker.wake();
    });
    send
}

#[test]
fn a_core_that_looks_on_is_woken_by_another_thread_without_an_unpark() {
    let park = Watched::default();
    let thread = waker_thread(&park.looks, 100);
    let executor = executor(&park, Idle::Spin(Duration::from_secs(60)));
    let mut polled = false;
    executor.block_on(std::future::poll_fn(|cx| {
        if polled {
            return Poll::Ready(());
        }
        polled = true;
        thread.send(cx.waker().clone()).expect("the thread waits for it");
        Poll::Pending
    }));
    assert_eq!((park.sleeps.get(), park.unparks.load(Ordering::SeqCst)), (0, 0));
    assert!(park.looks.load(Ordering::SeqCst) >= 100);
}

#[test]
fn a_core_that_looked_on_in_vain_sleeps() {
    let park = Watched::default();
    let executor = executor(&park, Idle::Spin(Duration::from_micros(1)));
    executor.block_on(coronet_exec::time::sleep(Duration::from_millis(1)));
    assert!(park.sleeps.get() > 0, "it slept when the window was over");
    assert!(park.looks.load(Ordering::SeqCst) > 0, "and looked on before");
}

#[test]
fn a_core_that_sleeps_at_once_never_looks_on() {
    let park = Watched::default();
    let executor = executor(&park, Idle::Sleep);
    executor.block_on(coronet_exec::time::sleep(Duration::from_millis(1)));
    assert!(park.sleeps.get() > 0);
    assert_eq!(park.looks.load(Ordering::SeqCst), 0);
}
