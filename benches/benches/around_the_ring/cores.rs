//! Messages between two cores, each pinned to its CPU, that are busy or asleep.

use std::sync::mpsc;
use std::time::{Duration, Instant};

use coronet::sync::cross;
use coronet::{Core, Cores};

use crate::table::{Row, Table};

pub(crate) fn measure(table: &mut Table) {
    let row = Row {
        name: "cross-core channel, per message, busy",
        reach: Some(30.0),
        obstacle: "the channel's lock: two instructions on it are three quarters of a push",
    };
    table.measure(&row, |rounds| on_two_cores(move |core| busy(core, rounds, 1024)));
    table.measure(&Row::informative("cross-core channel, unbounded, per message, busy"), |rounds| {
        on_two_cores(move |core| busy(core, rounds, usize::MAX))
    });
    let row = Row {
        name: "cross-core round trip, both asleep",
        reach: Some(50_000.0),
        obstacle: "not isolated: 34 us in some runs, 40 to 63 in others, on a shared machine",
    };
    table.measure(&row, |rounds| on_two_cores(move |core| asleep(core, rounds)));
}

/// Starts two cores and runs `main` on the first; the second does what it is sent.
fn on_two_cores<M, F>(main: M) -> Duration
where
    M: Fn(Core) -> F + Send + Clone + 'static,
    F: Future<Output = Duration> + 'static,
{
    let (report, reports) = mpsc::channel();
    let running = Cores::count(2)
        .start(move |core| {
            let (report, main) = (report.clone(), main.clone());
            async move {
                if core.index() == 0 {
                    report.send(main(core).await).unwrap();
                } else {
                    core.shutdown_requested().await;
                }
            }
        })
        .expect("two cores start");
    let elapsed = reports.recv().expect("the first core does not panic");
    running.shutdown(Duration::from_secs(1));
    drop(running.join());
    elapsed
}

async fn busy(core: Core, rounds: u64, capacity: usize) -> Duration {
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
    let elapsed = start.elapsed();
    assert_eq!(count, rounds);
    sending.await.unwrap();
    elapsed
}

async fn asleep(core: Core, rounds: u64) -> Duration {
    let (to, mut from_first) = cross::mpsc::channel(1);
    let (back, mut from_second) = cross::mpsc::channel(1);
    let echo = core.handle(1).spawn(move || async move {
        while let Some(n) = from_first.recv().await {
            back.send(n).await.unwrap();
        }
    });
    let start = Instant::now();
    for n in 0..rounds {
        to.send(n).await.unwrap();
        from_second.recv().await.unwrap();
    }
    let elapsed = start.elapsed();
    drop(to);
    echo.await.unwrap();
    elapsed
}
