//! Primitives of one core, and channels between threads.

#![cfg(not(loom))]

mod common;

use std::{cell::Cell, pin::pin, rc::Rc, time::Duration};

use common::{executor, virtual_executor};
use coronet_exec::{
    spawn,
    sync::{Barrier, Event, Mutex, Notify, RecvError, RwLock, Semaphore, TryRecvError, cross, mpsc, oneshot},
    tasks::{self, JoinSet, yield_now},
    time::{sleep, timeout},
};

const INSTANT: Duration = Duration::from_millis(1);

#[test]
fn a_channel_keeps_the_order_and_ends_with_its_last_sender() {
    executor().block_on(async {
        let (sender, mut receiver) = mpsc::channel(2);
        drop(spawn({
            let sender = sender.clone();
            async move {
                for n in 0..100 {
                    sender.send(n).await.unwrap();
                }
            }
        }));
        drop(sender);
        for n in 0..100 {
            assert_eq!(receiver.recv().await, Some(n));
        }
        assert_eq!(receiver.recv().await, None);
        assert_eq!(receiver.try_recv(), Err(TryRecvError::Closed));
    });
}

#[test]
fn a_bounded_channel_makes_its_sender_wait_and_lets_it_go_on() {
    virtual_executor().0.block_on(async {
        let (sender, mut receiver) = mpsc::channel(1);
        sender.send(1).await.unwrap();
        assert!(sender.try_send(2).is_err());
        assert!(timeout(INSTANT, sender.send(2)).await.is_err());
        let sending = spawn(async move { sender.send(3).await });
        yield_now().await;
        assert_eq!(receiver.recv().await, Some(1));
        assert_eq!(receiver.recv().await, Some(3));
        sending.await.unwrap().unwrap();
    });
}

#[test]
fn senders_that_wait_hear_that_the_receiver_is_gone() {
    executor().block_on(async {
        let (sender, receiver) = mpsc::channel(1);
        sender.send(1).await.unwrap();
        let sending = spawn(async move { sender.send(2).await });
        yield_now().await;
        drop(receiver);
        assert_eq!(sending.await.unwrap().unwrap_err().0, 2);
    });
}

/// The trap: without a budget this loop never yields, and the other task never runs.
#[test]
fn a_task_that_always_finds_a_message_lets_the_others_run() {
    executor().block_on(async {
        let (sender, mut receiver) = mpsc::unbounded();
        sender.send(()).unwrap();
        let stop = Rc::new(Cell::new(false));
        let endless = spawn({
            let stop = stop.clone();
            async move {
                while !stop.get() {
                    receiver.recv().await.unwrap();
                    sender.send(()).unwrap();
                }
            }
        });
        spawn(async move { stop.set(true) }).await.unwrap();
        endless.await.unwrap();
    });
}

#[test]
fn a_oneshot_gives_its_value_or_says_that_none_will_come() {
    executor().block_on(async {
        let (sender, receiver) = oneshot::channel();
        sender.send(1).unwrap();
        assert_eq!(receiver.await, Ok(1));
        let (sender, receiver) = oneshot::channel::<u8>();
        drop(sender);
        assert_eq!(receiver.await, Err(RecvError));
        let (sender, receiver) = oneshot::channel();
        drop(receiver);
        assert_eq!(sender.send(1), Err(1));
    });
}

/// The trap: the call was granted to a future that is dropped before it saw it.
#[test]
fn a_notification_of_a_dropped_future_goes_to_the_next() {
    executor().block_on(async {
        let notify = Rc::new(Notify::new());
        let second = {
            let mut first = pin!(notify.notified());
            assert!(futures_util::poll!(&mut first).is_pending());
            let second = spawn({
                let notify = notify.clone();
                async move { notify.notified().await }
            });
            yield_now().await;
            notify.notify_one();
            second
        };
        second.await.unwrap();
    });
}

#[test]
fn notify_waiters_reaches_futures_that_were_not_polled_yet_and_no_later_ones() {
    virtual_executor().0.block_on(async {
        let notify = Notify::new();
        let before = notify.notified();
        notify.notify_waiters();
        before.await;
        assert!(timeout(INSTANT, notify.notified()).await.is_err());
        notify.notify_one();
        notify.notify_one();
        notify.notified().await;
        assert!(timeout(INSTANT, notify.notified()).await.is_err());
    });
}

#[test]
fn a_waiter_for_many_permits_is_not_overtaken_until_it_gives_up() {
    virtual_executor().0.block_on(async {
        let semaphore = Rc::new(Semaphore::new(2));
        let held = semaphore.acquire().await.unwrap();
        let small = {
            let mut many = pin!(semaphore.acquire_many(2));
            assert!(futures_util::poll!(&mut many).is_pending());
            assert!(semaphore.try_acquire().is_err());
            let small = spawn({
                let semaphore = semaphore.clone();
                async move { semaphore.acquire().await.is_ok() }
            });
            yield_now().await;
            assert!(!small.is_finished());
            small
        };
        assert!(small.await.unwrap());
        drop(held);
        assert_eq!(semaphore.available_permits(), 2);
    });
}

#[test]
fn a_closed_semaphore_refuses_those_who_wait() {
    executor().block_on(async {
        let semaphore = Rc::new(Semaphore::new(0));
        let waiting = spawn({
            let semaphore = semaphore.clone();
            async move { semaphore.acquire().await.is_err() }
        });
        yield_now().await;
        semaphore.close();
        assert!(waiting.await.unwrap());
    });
}

#[test]
fn a_mutex_is_held_across_an_await_and_survives_a_cancelled_waiter() {
    virtual_executor().0.block_on(async {
        let mutex = Rc::new(Mutex::new(0));
        let mut set = JoinSet::new();
        for _ in 0..10 {
            let mutex = mutex.clone();
            set.spawn(async move {
                let mut value = mutex.lock().await;
                let seen = *value;
                sleep(INSTANT).await;
                *value = seen + 1;
            });
        }
        yield_now().await;
        assert!(timeout(INSTANT, mutex.lock()).await.is_err());
        while set.join_next().await.is_some() {}
        assert_eq!(*mutex.try_lock().unwrap(), 10);
    });
}

#[test]
fn a_writer_waits_for_readers_and_later_readers_wait_for_it() {
    virtual_executor().0.block_on(async {
        let lock = Rc::new(RwLock::new(0));
        let first = lock.read().await;
        let second = lock.read().await;
        let writer = spawn({
            let lock = lock.clone();
            async move { *lock.write().await += 1 }
        });
        yield_now().await;
        assert!(lock.try_read().is_err());
        drop((first, second));
        assert_eq!(*lock.read().await, 1);
        writer.await.unwrap();
    });
}

#[test]
fn a_barrier_lets_all_go_at_once_with_one_leader_and_starts_anew() {
    executor().block_on(async {
        let barrier = Rc::new(Barrier::new(3));
        for _ in 0..2 {
            let mut set = JoinSet::new();
            for _ in 0..3 {
                let barrier = barrier.clone();
                set.spawn(async move { barrier.wait().await.is_leader() });
            }
            let mut leaders = 0;
            while let Some(is_leader) = set.join_next().await {
                leaders += usize::from(is_leader.unwrap());
            }
            assert_eq!(leaders, 1);
        }
    });
}

#[test]
fn an_event_lets_everybody_pass_while_it_is_set() {
    virtual_executor().0.block_on(async {
        let event = Event::new();
        assert!(timeout(INSTANT, event.wait()).await.is_err());
        event.set();
        event.wait().await;
        event.clear();
        assert!(timeout(INSTANT, event.wait()).await.is_err());
    });
}

#[test]
fn a_cross_channel_carries_all_values_in_order_from_several_threads() {
    executor().block_on(async {
        let (sender, mut receiver) = cross::mpsc::channel(16);
        let threads: Vec<_> = (0..3u64)
            .map(|thread| {
                let sender = sender.clone();
                std::thread::spawn(move || {
                    for n in 0..2000u64 {
                        sender.blocking_send((thread, n)).unwrap();
                    }
                })
            })
            .collect();
        drop(sender);
        let mut next = [0; 3];
        while let Some((thread, n)) = receiver.recv().await {
            assert_eq!(next[thread as usize], n);
            next[thread as usize] += 1;
        }
        assert_eq!(next, [2000; 3]);
        for thread in threads {
            thread.join().unwrap();
        }
    });
}

/// The trap: values the receiver took from the queue but did not hand out still take up room.
#[test]
fn a_cross_channel_holds_its_capacity_and_no_more() {
    executor().block_on(async {
        let (sender, mut receiver) = cross::mpsc::channel(2);
        sender.try_send(1).unwrap();
        sender.try_send(2).unwrap();
        assert!(sender.try_send(3).is_err());
        assert_eq!(receiver.recv().await, Some(1));
        sender.try_send(3).unwrap();
        assert!(sender.try_send(4).is_err());
        let waiting = spawn(async move { sender.send(4).await });
        yield_now().await;
        assert!(!waiting.is_finished());
        assert_eq!(receiver.recv().await, Some(2));
        waiting.await.unwrap().unwrap();
        assert_eq!(receiver.recv().await, Some(3));
        assert_eq!(receiver.recv().await, Some(4));
        assert_eq!(receiver.recv().await, None);
    });
}

#[test]
fn a_place_granted_to_a_dropped_cross_sender_goes_to_the_next() {
    executor().block_on(async {
        let (sender, mut receiver) = cross::mpsc::channel(1);
        sender.try_send(1).unwrap();
        let second = {
            let mut first = pin!(sender.send(2));
            assert!(futures_util::poll!(&mut first).is_pending());
            let second = spawn({
                let sender = sender.clone();
                async move { sender.send(3).await }
            });
            yield_now().await;
            assert_eq!(receiver.recv().await, Some(1));
            second
        };
        second.await.unwrap().unwrap();
        assert_eq!(receiver.recv().await, Some(3));
    });
}

#[test]
fn a_blocking_call_gives_its_result_and_carries_its_panic() {
    executor().block_on(async {
        assert_eq!(tasks::spawn_blocking(|| 7).await.unwrap(), 7);
        let error = tasks::spawn_blocking(|| std::panic::resume_unwind(Box::new("x"))).await;
        assert!(error.map(|(): ()| ()).unwrap_err().is_panic());
    });
}

#[test]
fn more_blocking_calls_than_threads_all_get_their_turn() {
    let mut config = coronet_exec::Config::default();
    config.blocking_threads = 2;
    let park = Box::new(coronet_exec::ThreadPark::new());
    coronet_exec::Executor::new(park, config).block_on(async {
        let calls: Vec<_> = (0..100).map(|n| tasks::spawn_blocking(move || n)).collect();
        let results = tasks::gather(calls).await.unwrap();
        assert_eq!(results, (0..100).collect::<Vec<_>>());
    });
}

#[test]
fn gather_gives_the_first_error_and_gather_settled_gives_all() {
    executor().block_on(async {
        let work = |n: u32| async move {
            yield_now().await;
            if n == 1 { Err(n) } else { Ok(n) }
        };
        assert_eq!(tasks::gather((0..3).map(work)).await, Err(1));
        assert_eq!(tasks::gather((2..4).map(work)).await, Ok(vec![2, 3]));
        assert_eq!(tasks::gather_settled((0..3).map(work)).await, [Ok(0), Err(1), Ok(2)]);
    });
}

#[test]
fn a_join_set_reports_aborted_and_panicked_tasks_and_aborts_the_rest_when_dropped() {
    executor().block_on(async {
        let alive = Rc::new(());
        let mut set = JoinSet::new();
        for n in 0..3 {
            let alive = alive.clone();
            set.spawn(async move {
                let _alive = alive;
                if n == 1 {
                    std::panic::resume_unwind(Box::new(()));
                }
                std::future::pending::<()>().await
            });
        }
        assert!(set.join_next().await.unwrap().unwrap_err().is_panic());
        drop(set);
        yield_now().await;
        assert_eq!(Rc::strong_count(&alive), 1);
    });
}
