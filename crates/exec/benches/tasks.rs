//! Spawn, join, yield: what a task costs on its own core.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use coronet_exec::{Config, Executor, ThreadPark, spawn, tasks::yield_now};
use criterion::{Criterion, criterion_group, criterion_main};

fn executor() -> Executor {
    Executor::new(Box::new(ThreadPark::new()), Config::default())
}

fn spawn_then_join(c: &mut Criterion) {
    let executor = executor();
    c.bench_function("spawn 1M, then join all (per task)", |b| {
        b.iter_custom(|rounds| {
            const TASKS: u32 = 1_000_000;
            let mut total = Duration::ZERO;
            for _ in 0..rounds.div_ceil(u64::from(TASKS)) {
                let start = Instant::now();
                executor.block_on(async {
                    let handles: Vec<_> = (0..TASKS).map(|n| spawn(async move { black_box(n) })).collect();
                    for handle in handles {
                        handle.await.unwrap();
                    }
                });
                total += start.elapsed();
            }
            let done = rounds.div_ceil(u64::from(TASKS)) * u64::from(TASKS);
            total.mul_f64(rounds as f64 / done as f64)
        });
    });
}

fn spawn_and_join(c: &mut Criterion) {
    let executor = executor();
    c.bench_function("spawn + join, one by one", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            executor.block_on(async {
                for n in 0..rounds {
                    spawn(async move { black_box(n) }).await.unwrap();
                }
            });
            start.elapsed()
        });
    });
}

fn yields(c: &mut Criterion) {
    for tasks in [2u64, 1000] {
        let executor = executor();
        c.bench_function(&format!("yield, {tasks} tasks"), |b| {
            b.iter_custom(|rounds| {
                let each = rounds.div_ceil(tasks);
                let start = Instant::now();
                executor.block_on(async {
                    let handles: Vec<_> = (0..tasks)
                        .map(|_| {
                            spawn(async move {
                                for _ in 0..each {
                                    yield_now().await;
                                }
                            })
                        })
                        .collect();
                    for handle in handles {
                        handle.await.unwrap();
                    }
                });
                start.elapsed().mul_f64(rounds as f64 / (each * tasks) as f64)
            });
        });
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1500));
    targets = spawn_then_join, spawn_and_join, yields
}
criterion_main!(benches);
