//! What a task promises: it runs, ends, is cancelled, panics, and wakes from anywhere.

#![cfg(not(loom))]

mod common;

use std::{
    cell::{Cell, RefCell},
    future::{pending, poll_fn},
    rc::Rc,
    sync::mpsc as std_mpsc,
    task::{Poll, Waker},
};

use common::executor;
use coronet_exec::{Executor, spawn, stats, sync::oneshot, tasks};

/// Counts how often it is dropped.
struct Dropped(Rc<Cell<u32>>);

impl Drop for Dropped {
    fn drop(&mut self) {
        self.0.set(self.0.get() + 1);
    }
}

#[test]
fn tasks_run_in_the_order_of_their_spawns() {
    let order = Rc::new(RefCell::new(Vec::new()));
    executor().block_on(async {
        let handles: Vec<_> = (0..200)
            .map(|n| {
                let order = order.clone();
                spawn(async move { order.borrow_mut().push(n) })
            })
            .collect();
        for handle in handles {
            handle.await.unwrap();
        }
    });
    assert_eq!(*order.borrow(), (0..200).collect::<Vec<_>>());
}

#[test]
fn a_detached_task_goes_on() {
    executor().block_on(async {
        let (sender, receiver) = oneshot::channel();
        drop(spawn(async move {
            tasks::yield_now().await;
            sender.send(5).unwrap();
        }));
        assert_eq!(receiver.await, Ok(5));
    });
}

#[test]
fn a_panic_becomes_a_join_error_and_the_core_lives() {
    executor().block_on(async {
        let error = spawn(async { panic!("ouch") }).await.unwrap_err();
        assert!(error.is_panic() && !error.is_cancelled());
        assert_eq!(error.to_string(), "the task panicked: ouch");
        assert_eq!(error.into_panic().downcast_ref::<&str>(), Some(&"ouch"));
        assert_eq!(spawn(async { 1 }).await.unwrap(), 1);
    });
}

#[test]
fn a_panic_in_the_destructor_of_a_future_becomes_a_join_error() {
    struct Bomb;
    impl Drop for Bomb {
        fn drop(&mut self) {
            panic!("late");
        }
    }
    executor().block_on(async {
        let handle = spawn(async {
            let _bomb = Bomb;
            pending::<()>().await;
        });
        tasks::yield_now().await;
        handle.abort();
        assert!(handle.await.unwrap_err().is_panic());
    });
}

#[test]
fn an_aborted_task_drops_its_future_and_reports_cancelled() {
    let drops = Rc::new(Cell::new(0));
    executor().block_on(async {
        let guard = Dropped(drops.clone());
        let handle = spawn(async move {
            let _guard = guard;
            pending::<()>().await;
        });
        tasks::yield_now().await;
        handle.abort();
        handle.abort();
        assert!(!handle.is_finished());
        assert!(handle.await.unwrap_err().is_cancelled());
        assert_eq!(drops.get(), 1);
    });
}

#[test]
fn a_task_that_is_aborted_before_its_first_poll_never_runs() {
    executor().block_on(async {
        let ran = Rc::new(Cell::new(false));
        let handle = spawn({
            let ran = ran.clone();
            async move { ran.set(true) }
        });
        handle.abort();
        assert!(handle.await.unwrap_err().is_cancelled());
        assert!(!ran.get());
    });
}

/// The trap: the abort comes while the future is borrowed by its own poll.
#[test]
fn a_task_may_abort_itself() {
    executor().block_on(async {
        let slot = Rc::new(RefCell::new(None::<coronet_exec::JoinHandle<()>>));
        let handle = spawn({
            let slot = slot.clone();
            async move {
                if let Some(own) = &*slot.borrow() {
                    own.abort();
                }
                pending::<()>().await;
            }
        });
        *slot.borrow_mut() = Some(handle);
        tasks::yield_now().await;
        let handle = slot.borrow_mut().take().unwrap();
        assert!(handle.await.unwrap_err().is_cancelled());
    });
}

#[test]
fn an_output_that_nobody_takes_is_dropped_once() {
    let drops = Rc::new(Cell::new(0));
    executor().block_on(async {
        let early = Dropped(drops.clone());
        drop(spawn(async move { early }));
        let late = Dropped(drops.clone());
        // The trap: a waker keeps the cell, which must not keep the output.
        let waker = Rc::new(RefCell::new(None));
        let handle = spawn({
            let waker = waker.clone();
            async move {
                let own = poll_fn(|cx| Poll::Ready(cx.waker().clone())).await;
                *waker.borrow_mut() = Some(own);
                late
            }
        });
        tasks::yield_now().await;
        assert!(handle.is_finished());
        assert_eq!(drops.get(), 1);
        drop(handle);
        assert_eq!(drops.get(), 2);
    });
}

/// The trap: a waker moves to a thread that clones, wakes and drops it while the task runs.
#[test]
fn a_waker_works_from_other_threads() {
    executor().block_on(async {
        let (to_thread, from_core) = std_mpsc::channel::<Waker>();
        let thread = std::thread::spawn(move || {
            for waker in from_core {
                let twin = waker.clone();
                waker.wake_by_ref();
                drop(waker);
                twin.wake();
            }
        });
        for _ in 0..1000 {
            let mut sent = false;
            poll_fn(|cx| {
                if sent {
                    return Poll::Ready(());
                }
                sent = true;
                to_thread.send(cx.waker().clone()).unwrap();
                Poll::Pending
            })
            .await;
        }
        drop(to_thread);
        thread.join().unwrap();
    });
}

/// The trap: these wakers are the last to know the cells, on a thread that is not their core's.
#[test]
fn wakers_that_outlive_the_executor_do_nothing() {
    let mut wakers = Vec::new();
    let executor = executor();
    for _ in 0..10 {
        let slot = Rc::new(RefCell::new(None));
        drop(executor.spawn({
            let slot = slot.clone();
            poll_fn(move |cx| {
                *slot.borrow_mut() = Some(cx.waker().clone());
                Poll::<()>::Pending
            })
        }));
        executor.block_on(tasks::yield_now());
        wakers.push(slot.take().unwrap());
    }
    drop(executor);
    let kept: Vec<_> = wakers.iter().map(Waker::clone).collect();
    std::thread::spawn(move || {
        for waker in wakers {
            waker.wake_by_ref();
            drop(waker.clone());
            waker.wake();
        }
    })
    .join()
    .unwrap();
    drop(kept);
}

#[test]
fn a_join_handle_that_outlives_the_executor_reports_cancelled() {
    let drops = Rc::new(Cell::new(0));
    let one = executor();
    let guard = Dropped(drops.clone());
    let pending_task = one.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    });
    let done = one.spawn(async { Dropped(Rc::default()) });
    one.block_on(tasks::yield_now());
    drop(one);
    assert_eq!(drops.get(), 1);
    assert!(done.is_finished());
    pending_task.abort();
    let error = executor().block_on(pending_task).unwrap_err();
    assert!(error.is_cancelled());
    drop(done);
}

#[test]
fn destructors_of_dropped_tasks_still_find_the_executor() {
    struct Spawns(Rc<Cell<bool>>);
    impl Drop for Spawns {
        fn drop(&mut self) {
            let handle = spawn(async { unreachable!("the executor is closing") });
            assert!(handle.is_finished());
            self.0.set(true);
        }
    }
    let done = Rc::new(Cell::new(false));
    let executor = executor();
    let guard = Spawns(done.clone());
    drop(executor.spawn(async move {
        let _guard = guard;
        pending::<()>().await;
    }));
    executor.block_on(tasks::yield_now());
    drop(executor);
    assert!(done.get());
}

/// The trap: each task holds the waker of the next one, so cancelling one wakes another.
#[test]
fn tasks_that_wake_each_other_in_destructors_are_all_dropped() {
    struct WakesOnDrop(Rc<RefCell<Vec<Waker>>>);
    impl Drop for WakesOnDrop {
        fn drop(&mut self) {
            for waker in &*self.0.borrow() {
                waker.wake_by_ref();
            }
        }
    }
    let wakers = Rc::new(RefCell::new(Vec::new()));
    let executor = executor();
    for _ in 0..20 {
        let guard = WakesOnDrop(wakers.clone());
        let wakers = wakers.clone();
        drop(executor.spawn(async move {
            let _guard = guard;
            poll_fn(|cx| {
                wakers.borrow_mut().push(cx.waker().clone());
                Poll::<()>::Pending
            })
            .await;
        }));
    }
    executor.block_on(tasks::yield_now());
    drop(executor);
    assert_eq!(Rc::strong_count(&wakers), 1);
}

#[test]
#[should_panic(expected = "block_on inside of block_on")]
fn a_nested_block_on_panics_with_a_clear_message() {
    executor().block_on(async { executor().block_on(async {}) });
}

#[test]
#[should_panic(expected = "spawn needs a running executor")]
fn spawning_outside_of_an_executor_panics_with_a_clear_message() {
    drop(spawn(async {}));
}

#[test]
fn a_panic_of_the_root_leaves_the_executor_usable() {
    let executor = executor();
    let handle = executor.spawn(async { 3 });
    let root = std::panic::AssertUnwindSafe(|| executor.block_on(async { panic!("root") }));
    assert!(std::panic::catch_unwind(root).is_err());
    assert!(!Executor::is_running_here());
    assert_eq!(executor.block_on(handle).unwrap(), 3);
}

#[test]
fn the_root_is_polled_only_when_woken() {
    executor().block_on(async {
        let handle = spawn(async {
            for _ in 0..500 {
                tasks::yield_now().await;
            }
        });
        let mut polls = 0;
        let mut handle = handle;
        poll_fn(|cx| {
            polls += 1;
            std::pin::Pin::new(&mut handle).poll(cx)
        })
        .await
        .unwrap();
        assert_eq!(polls, 2);
    });
}

#[test]
fn current_tells_the_id_and_the_name_of_the_task() {
    executor().block_on(async {
        let root = tasks::current();
        let handle = tasks::Builder::new().name("worker").spawn(async { tasks::current() });
        let id = handle.id();
        let current = handle.await.unwrap();
        assert_eq!(current.id(), id);
        assert_eq!(current.name(), Some("worker"));
        assert_ne!(root.id(), id);
        assert_eq!(tasks::current().id(), root.id());
    });
    assert!(tasks::try_current().is_none());
}

#[test]
fn the_counters_know_the_tasks_alive() {
    executor().block_on(async {
        let before = stats().unwrap();
        let handle = spawn(pending::<()>());
        tasks::yield_now().await;
        assert_eq!(stats().unwrap().tasks_alive, before.tasks_alive + 1);
        handle.abort();
        let _ = handle.await;
        let after = stats().unwrap();
        assert_eq!(after.tasks_alive, before.tasks_alive);
        assert_eq!(after.tasks_spawned, before.tasks_spawned + 1);
    });
    assert!(stats().is_none());
}
