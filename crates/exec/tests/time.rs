//! Sleeps, limits and intervals, on a clock that moves only when nobody can run.

#![cfg(not(loom))]

mod common;

use std::{
    cell::RefCell,
    future::{pending, ready},
    pin::pin,
    rc::Rc,
    time::Duration,
};

use common::{executor, virtual_executor};
use coronet_exec::{
    Clock, Config, Executor, ThreadPark, VirtualClock, spawn, stats, tasks,
    time::{Instant, MissedTickBehavior, interval, sleep, sleep_until, timeout, timeout_at},
};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn virtual_time_passes_exactly_and_costs_nothing() {
    let real = Instant::now();
    virtual_executor().0.block_on(async {
        let start = Instant::now();
        sleep(Duration::from_secs(86_400)).await;
        assert_eq!(start.elapsed(), Duration::from_secs(86_400));
    });
    assert!(real.elapsed() < Duration::from_secs(3600));
}

#[test]
fn a_sleep_in_real_time_never_ends_early() {
    executor().block_on(async {
        for micros in [0, 1, 100, 131, 500, 2000] {
            let start = Instant::now();
            sleep(Duration::from_micros(micros)).await;
            assert!(start.elapsed() >= Duration::from_micros(micros));
        }
    });
}

#[test]
fn sleeps_end_in_the_order_of_their_deadlines_and_equal_ones_in_the_order_of_polls() {
    let (executor, _) = virtual_executor();
    let order = Rc::new(RefCell::new(Vec::new()));
    executor.block_on(async {
        let mut set = tasks::JoinSet::new();
        for (n, millis) in [500, 3, 70_000, 3, 64, 0].into_iter().enumerate() {
            let order = order.clone();
            set.spawn(async move {
                sleep(Duration::from_millis(millis)).await;
                order.borrow_mut().push(n);
            });
        }
        while set.join_next().await.is_some() {}
    });
    assert_eq!(*order.borrow(), [5, 1, 3, 4, 0, 2]);
}

#[test]
fn a_dropped_sleep_leaves_no_timer() {
    virtual_executor().0.block_on(async {
        for _ in 0..3 {
            let mut sleep = pin!(sleep(SECOND));
            assert!(timeout(Duration::from_millis(1), &mut sleep).await.is_err());
            assert_eq!(stats().unwrap().timers_alive, 1);
        }
        assert_eq!(stats().unwrap().timers_alive, 0);
    });
}

#[test]
fn a_sleep_can_be_reset_forward_backward_and_after_its_end() {
    virtual_executor().0.block_on(async {
        let start = Instant::now();
        let mut sleep = pin!(sleep(10 * SECOND));
        assert!(timeout(SECOND, &mut sleep).await.is_err());
        sleep.reset(start + 2 * SECOND);
        sleep.as_mut().await;
        assert_eq!(start.elapsed(), 2 * SECOND);
        assert!(sleep.is_elapsed());
        sleep.reset(start + 5 * SECOND);
        sleep.as_mut().await;
        assert_eq!(start.elapsed(), 5 * SECOND);
    });
}

#[test]
fn a_timeout_polls_its_future_first() {
    virtual_executor().0.block_on(async {
        assert_eq!(timeout(Duration::ZERO, ready(1)).await, Ok(1));
        let now = Instant::now();
        assert_eq!(timeout_at(now, ready(1)).await, Ok(1));
        assert!(timeout_at(now, pending::<()>()).await.is_err());
        // Both end at the same moment; the future wins.
        assert!(timeout(SECOND, sleep(SECOND)).await.is_ok());
    });
}

#[test]
fn a_timeout_can_be_reset() {
    virtual_executor().0.block_on(async {
        let start = Instant::now();
        let mut limited = pin!(timeout(SECOND, sleep_until(start + 3 * SECOND)));
        assert!(limited.as_mut().await.is_err());
        limited.as_mut().reset(start + 4 * SECOND);
        assert!(limited.as_mut().await.is_ok());
        assert_eq!(start.elapsed(), 3 * SECOND);
    });
}

#[test]
fn an_interval_does_with_missed_ticks_what_it_was_told() {
    use MissedTickBehavior::{Burst, Delay, Skip};
    for (behavior, expected) in [(Burst, [0, 1, 2, 3, 4]), (Delay, [0, 1, 4, 5, 6]), (Skip, [0, 1, 4, 5, 6])]
    {
        virtual_executor().0.block_on(async {
            let start = Instant::now();
            let mut beat = interval(SECOND);
            beat.set_missed_tick_behavior(behavior);
            let mut ticks = vec![beat.tick().await];
            sleep(SECOND * 3 + if behavior == Delay { Duration::ZERO } else { SECOND / 2 }).await;
            for _ in 0..4 {
                ticks.push(beat.tick().await);
            }
            let ticks: Vec<_> = ticks.iter().map(|&tick| (tick - start).as_secs()).collect();
            assert_eq!(ticks, expected, "{behavior:?}");
        });
    }
}

#[test]
fn virtual_time_stands_still_while_a_blocking_call_runs() {
    virtual_executor().0.block_on(async {
        let start = Instant::now();
        let call = tasks::spawn_blocking(|| std::thread::current().name().map(str::to_owned));
        let name = timeout(Duration::from_millis(1), call).await.unwrap().unwrap();
        assert_eq!(name.as_deref(), Some("coronet-blocking"));
        assert_eq!(start.elapsed(), Duration::ZERO);
    });
}

/// The trap: the timer's waker belongs to the task that polled it last, not first.
#[test]
fn a_sleep_that_moves_to_another_task_wakes_that_one() {
    virtual_executor().0.block_on(async {
        let mut moved = Box::pin(sleep(SECOND));
        assert!(timeout(Duration::from_millis(1), &mut moved).await.is_err());
        spawn(moved).await.unwrap();
    });
}

/// The trap: a turn must neither sleep nor leave its core behind as the thread's current one.
#[test]
fn executors_that_are_turned_share_a_thread_and_a_clock() {
    let clock = VirtualClock::new();
    let executor = || {
        let mut config = Config::default();
        config.clock = Clock::Virtual(clock.clone());
        config.blocking_here = true;
        Executor::new(Box::new(ThreadPark::new()), config)
    };
    let executors = [executor(), executor()];
    let order = Rc::new(RefCell::new(Vec::new()));
    for (name, executor) in ["one", "other"].into_iter().zip(&executors) {
        let order = order.clone();
        executor.spawn(async move {
            sleep(Duration::from_secs(if name == "one" { 2 } else { 1 })).await;
            let here = std::thread::current().id();
            let there = tasks::spawn_blocking(|| std::thread::current().id()).await;
            assert_eq!(there.expect("no panic"), here, "a blocking call runs at once");
            order.borrow_mut().push(name);
        });
    }
    while order.borrow().len() < 2 {
        let is_busy = executors.iter().filter(|executor| executor.turn()).count() > 0;
        assert!(!Executor::is_running_here());
        if !is_busy {
            let next = executors.iter().filter_map(Executor::next_timer).min();
            clock.advance_to(next.expect("somebody sleeps"));
        }
    }
    assert_eq!(*order.borrow(), ["other", "one"]);
}
