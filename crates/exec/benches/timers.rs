//! A sleep that is made, polled once and dropped: the life of most timers.

use std::{
    future::Future,
    pin::pin,
    task::{Context, Waker},
    time::{Duration, Instant},
};

use coronet_exec::{Config, Executor, ThreadPark, time::sleep};
use criterion::{Criterion, criterion_group, criterion_main};

fn timers(c: &mut Criterion) {
    for alive in [0u64, 100_000] {
        let executor = Executor::new(Box::new(ThreadPark::new()), Config::default());
        c.bench_function(&format!("sleep create + poll + drop, {alive} alive"), |b| {
            b.iter_custom(|rounds| {
                executor.block_on(async {
                    let mut cx = Context::from_waker(Waker::noop());
                    let others: Vec<_> = (0..alive)
                        .map(|n| {
                            let mut sleep = Box::pin(sleep(Duration::from_millis(60_000 + n)));
                            assert!(sleep.as_mut().poll(&mut cx).is_pending());
                            sleep
                        })
                        .collect();
                    let start = Instant::now();
                    for n in 0..rounds {
                        let sleep = pin!(sleep(Duration::from_millis(1000 + n % 30_000)));
                        assert!(sleep.poll(&mut cx).is_pending());
                    }
                    let elapsed = start.elapsed();
                    drop(others);
                    elapsed
                })
            });
        });
    }
    c.bench_function("clock read", |b| b.iter(coronet_exec::time::Instant::now));
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000));
    targets = timers
}
criterion_main!(benches);
