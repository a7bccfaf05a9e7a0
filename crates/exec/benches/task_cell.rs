//! Our task cell against the crate `async-task`, on the same small executor loop.
//!
//! Both run under the least that can be called an executor: a queue and a loop. So the
//! difference is the cell: its allocation, its counts and its state. `async-task` gets the best
//! queue it allows, a thread-local `VecDeque`: its `Runnable` cannot be linked.

use std::{
    cell::RefCell,
    collections::VecDeque,
    hint::black_box,
    time::{Duration, Instant},
};

use async_task::{Runnable, Task};
use coronet_exec::{Config, Executor, ThreadPark, tasks::yield_now};
use criterion::{Criterion, criterion_group, criterion_main};

thread_local! {
    static QUEUE: RefCell<VecDeque<Runnable>> = const { RefCell::new(VecDeque::new()) };
}

fn async_task_spawn<F>(future: F) -> Task<F::Output>
where
    F: Future + 'static,
    F::Output: 'static,
{
    // A closure without state, so it is `Send`; our benchmark wakes on one thread only.
    let schedule = |runnable| QUEUE.with(|queue| queue.borrow_mut().push_back(runnable));
    let (runnable, task) = async_task::spawn_local(future, schedule);
    runnable.schedule();
    task
}

/// Runs the root as a task too, as such executors do.
fn async_task_block_on<F: Future + 'static>(future: F) -> F::Output
where
    F::Output: 'static,
{
    let mut root = async_task_spawn(future);
    loop {
        // One look at the root per 61 tasks, as ours looks around.
        for _ in 0..61 {
            let Some(runnable) = QUEUE.with(|queue| queue.borrow_mut().pop_front()) else { break };
            runnable.run();
        }
        if root.is_finished() {
            let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
            let std::task::Poll::Ready(output) = std::pin::Pin::new(&mut root).poll(&mut cx) else {
                unreachable!("it is finished")
            };
            return output;
        }
    }
}

fn ours() -> Executor {
    Executor::new(Box::new(ThreadPark::new()), Config::default())
}

fn one_by_one(c: &mut Criterion) {
    c.bench_function("spawn + join: async-task", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            async_task_block_on(async move {
                for n in 0..rounds {
                    async_task_spawn(async move { black_box(n) }).await;
                }
            });
            start.elapsed()
        });
    });
    c.bench_function("spawn + join: ours", |b| {
        let executor = ours();
        b.iter_custom(|rounds| {
            let start = Instant::now();
            executor.block_on(async move {
                for n in 0..rounds {
                    coronet_exec::spawn(async move { black_box(n) }).await.unwrap();
                }
            });
            start.elapsed()
        });
    });
}

fn many(c: &mut Criterion) {
    const TASKS: u64 = 1_000_000;
    c.bench_function("spawn 1M, then join (per task): async-task", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            async_task_block_on(async {
                let tasks: Vec<_> =
                    (0..TASKS).map(|n| async_task_spawn(async move { black_box(n) })).collect();
                for task in tasks {
                    task.await;
                }
            });
            start.elapsed().mul_f64(rounds as f64 / TASKS as f64)
        });
    });
    c.bench_function("spawn 1M, then join (per task): ours", |b| {
        let executor = ours();
        b.iter_custom(|rounds| {
            let start = Instant::now();
            executor.block_on(async {
                let tasks: Vec<_> =
                    (0..TASKS).map(|n| coronet_exec::spawn(async move { black_box(n) })).collect();
                for task in tasks {
                    task.await.unwrap();
                }
            });
            start.elapsed().mul_f64(rounds as f64 / TASKS as f64)
        });
    });
}

/// Each yield is a wake by reference and a run.
fn wakes(c: &mut Criterion) {
    for tasks in [2u64, 1000] {
        c.bench_function(&format!("yield, {tasks} tasks: async-task"), |b| {
            b.iter_custom(|rounds| {
                let each = rounds.div_ceil(tasks);
                let start = Instant::now();
                async_task_block_on(async move {
                    let handles: Vec<_> = (0..tasks).map(|_| async_task_spawn(yields(each))).collect();
                    for handle in handles {
                        handle.await;
                    }
                });
                start.elapsed().mul_f64(rounds as f64 / (each * tasks) as f64)
            });
        });
        c.bench_function(&format!("yield, {tasks} tasks: ours"), |b| {
            let executor = ours();
            b.iter_custom(|rounds| {
                let each = rounds.div_ceil(tasks);
                let start = Instant::now();
                executor.block_on(async move {
                    let handles: Vec<_> = (0..tasks).map(|_| coronet_exec::spawn(yields(each))).collect();
                    for handle in handles {
                        handle.await.unwrap();
                    }
                });
                start.elapsed().mul_f64(rounds as f64 / (each * tasks) as f64)
            });
        });
    }
}

async fn yields(count: u64) {
    for _ in 0..count {
        yield_now().await;
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000));
    targets = one_by_one, many, wakes
}
criterion_main!(benches);
