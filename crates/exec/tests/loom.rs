//! Every interleaving of a wake from another thread with a core that falls asleep or dies.
//!
//! `RUSTFLAGS="--cfg loom" cargo test -p coronet-exec --test loom --release`

#![cfg(loom)]

use std::{
    cell::RefCell,
    future::poll_fn,
    rc::Rc,
    sync::{Arc as StdArc, Mutex as StdMutex},
    task::{Poll, Waker},
};

use coronet_exec::{Config, Executor, ThreadPark, sync::cross};
use loom::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
};

fn model(f: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(f);
}

fn executor() -> Executor {
    Executor::new(Box::new(ThreadPark::new()), Config::default())
}

/// A lost wake is a deadlock, which loom reports.
#[test]
fn a_wake_from_another_thread_is_never_lost() {
    model(|| {
        let ready = Arc::new(AtomicBool::new(false));
        let slot: StdArc<StdMutex<Option<Waker>>> = StdArc::default();
        let executor = executor();
        let mut thread_handle = None;
        executor.block_on(poll_fn(|cx| {
            if ready.load(Ordering::Acquire) {
                return Poll::Ready(());
            }
            if thread_handle.is_none() {
                *slot.lock().unwrap() = Some(cx.waker().clone());
                let (ready, slot) = (ready.clone(), slot.clone());
                thread_handle = Some(thread::spawn(move || {
                    let waker = slot.lock().unwrap().take().unwrap();
                    ready.store(true, Ordering::Release);
                    waker.wake();
                }));
            }
            Poll::Pending
        }));
        thread_handle.unwrap().join().unwrap();
    });
}

/// Two threads share one task's waker: each sees the queued flag of the other.
#[test]
fn two_wakes_from_two_threads_are_never_lost() {
    model(|| {
        let flags = [Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false))];
        let executor = executor();
        let mut threads = Vec::new();
        executor.block_on(poll_fn(|cx| {
            if threads.is_empty() {
                for flag in &flags {
                    let (flag, waker) = (flag.clone(), cx.waker().clone());
                    threads.push(thread::spawn(move || {
                        flag.store(true, Ordering::Relaxed);
                        waker.wake();
                    }));
                }
            }
            if flags.iter().all(|flag| flag.load(Ordering::Relaxed)) {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }));
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// The cell must be freed by exactly one of the two, and not before both are done with it.
#[test]
fn a_waker_may_be_used_while_the_executor_dies() {
    model(|| {
        let executor = executor();
        let slot = Rc::new(RefCell::new(None::<Waker>));
        let handle = executor.spawn({
            let slot = slot.clone();
            poll_fn(move |cx| {
                *slot.borrow_mut() = Some(cx.waker().clone());
                Poll::<()>::Pending
            })
        });
        drop(handle);
        executor.block_on(coronet_exec::tasks::yield_now());
        let waker = slot.take().unwrap();
        let thread = thread::spawn(move || {
            let twin = waker.clone();
            waker.wake();
            drop(twin);
        });
        drop(executor);
        thread.join().unwrap();
    });
}

#[test]
fn a_value_between_threads_is_never_lost() {
    model(|| {
        let executor = executor();
        let (sender, receiver) = cross::oneshot::channel();
        let thread = thread::spawn(move || sender.send(1).unwrap());
        assert_eq!(executor.block_on(receiver), Ok(1));
        thread.join().unwrap();
    });
}

/// The trap: the sender lists itself at the moment when the receiver frees the one place.
#[test]
fn a_sender_that_waits_for_room_is_never_forgotten() {
    model(|| {
        let executor = executor();
        let (sender, mut receiver) = cross::mpsc::channel(1);
        sender.try_send(1).unwrap();
        let thread = thread::spawn(move || sender.blocking_send(2).unwrap());
        executor.block_on(async {
            assert_eq!(receiver.recv().await, Some(1));
            assert_eq!(receiver.recv().await, Some(2));
        });
        thread.join().unwrap();
    });
}
