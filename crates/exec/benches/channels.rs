//! Messages: within a core, and between two cores that are busy or asleep.

use std::time::{Duration, Instant};

use coronet_exec::{
    Config, Cores, Executor, ThreadPark, spawn,
    sync::{cross, mpsc},
};
use criterion::{Criterion, criterion_group, criterion_main};

fn executor() -> Executor {
    Executor::new(Box::new(ThreadPark::new()), Config::default())
}

fn local(c: &mut Criterion) {
    let one = executor();
    c.bench_function("local channel, per message", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            one.block_on(async {
                let (sender, mut receiver) = mpsc::channel(1024);
                let sending = spawn(async move {
                    for n in 0..rounds {
                        sender.send(n).await.unwrap();
                    }
                });
                while receiver.recv().await.is_some() {}
                sending.await.unwrap();
            });
            start.elapsed()
        });
    });
    let one = executor();
    c.bench_function("local channel, unbounded, per message", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            one.block_on(async {
                let (sender, mut receiver) = mpsc::unbounded();
                let sending = spawn(async move {
                    for n in 0..rounds {
                        sender.send(n).unwrap();
                        if n % 1024 == 0 {
                            coronet_exec::tasks::yield_now().await;
                        }
                    }
                });
                while receiver.recv().await.is_some() {}
                sending.await.unwrap();
            });
            start.elapsed()
        });
    });
    let one = executor();
    c.bench_function("local channel, round trip", |b| {
        b.iter_custom(|rounds| {
            let start = Instant::now();
            one.block_on(async {
                let (to, mut from_root) = mpsc::channel(1);
                let (back, mut from_task) = mpsc::channel(1);
                let echo = spawn(async move {
                    while let Some(n) = from_root.recv().await {
                        back.send(n).await.unwrap();
                    }
                });
                for n in 0..rounds {
                    to.send(n).await.unwrap();
                    from_task.recv().await.unwrap();
                }
                drop(to);
                echo.await.unwrap();
            });
            start.elapsed()
        });
    });
}

/// A thread that echoes, pinned to its own CPU where there is one.
fn cross_core(c: &mut Criterion) {
    for capacity in [1024, usize::MAX] {
        let name = if capacity == usize::MAX { "unbounded" } else { "bounded" };
        c.bench_function(&format!("cross-core channel, {name}, per message, busy"), |b| {
            b.iter_custom(|rounds| {
                let running = Cores::count(2)
                    .start_with(
                        |_| Ok(Box::new(ThreadPark::new())),
                        move |core| async move {
                            if core.index() == 1 {
                                core.shutdown_requested().await;
                                return Duration::ZERO;
                            }
                            let (sender, mut receiver) = cross::mpsc::channel(capacity);
                            let start = Instant::now();
                            let sending = core.handle(1).spawn(move || async move {
                                for n in 0..rounds {
                                    sender.send(n).await.unwrap();
                                }
                            });
                            let mut count = 0;
                            while receiver.recv().await.is_some() {
                                count += 1;
                            }
                            assert_eq!(count, rounds);
                            let elapsed = start.elapsed();
                            sending.await.unwrap();
                            core.handle(1).spawn(|| async {}).await.unwrap();
                            elapsed
                        },
                    )
                    .unwrap();
                // Core 0 ends by itself; then core 1 is told to.
                running.handle(0).spawn(std::future::pending::<()>).wait().unwrap_err();
                running.shutdown(Duration::from_secs(1));
                let elapsed = running.join();
                *elapsed[0].as_ref().unwrap()
            });
        });
    }
    c.bench_function("cross-core round trip, both asleep", |b| {
        b.iter_custom(|rounds| {
            let running = Cores::count(2)
                .start_with(
                    |_| Ok(Box::new(ThreadPark::new())),
                    move |core| async move {
                        if core.index() == 1 {
                            core.shutdown_requested().await;
                            return Duration::ZERO;
                        }
                        let (to, mut from_core) = cross::mpsc::channel(1);
                        let (back, mut from_other) = cross::mpsc::channel(1);
                        let echo = core.handle(1).spawn(move || async move {
                            while let Some(n) = from_core.recv().await {
                                back.send(n).await.unwrap();
                            }
                        });
                        let start = Instant::now();
                        for n in 0..rounds {
                            to.send(n).await.unwrap();
                            from_other.recv().await.unwrap();
                        }
                        let elapsed = start.elapsed();
                        drop(to);
                        echo.await.unwrap();
                        elapsed
                    },
                )
                .unwrap();
            running.handle(0).spawn(std::future::pending::<()>).wait().unwrap_err();
            running.shutdown(Duration::from_secs(1));
            *running.join()[0].as_ref().unwrap()
        });
    });
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(10)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_millis(1000));
    targets = local, cross_core
}
criterion_main!(benches);
