//! Timers that are made and given up: the life of most of them.

use std::future::Future;
use std::hint::black_box;
use std::pin::pin;
use std::task::{Context, Waker};
use std::time::{Duration, Instant};

use coronet::time::{self, sleep};

use crate::runtime;
use crate::table::{Row, Table};

pub(crate) fn measure(table: &mut Table) {
    dropped(table, &Row::within("sleep create + poll + drop, alone", 60.0), 0);
    dropped(table, &Row::within("sleep create + poll + drop, 100k alive", 120.0), 100_000);
    moved(table);
    clock(table);
}

fn dropped(table: &mut Table, row: &Row, alive: u64) {
    let runtime = runtime();
    table.measure(row, |rounds| {
        runtime.block_on(async {
            let mut cx = Context::from_waker(Waker::noop());
            let armed = |n| {
                let mut sleep = Box::pin(sleep(Duration::from_millis(60_000 + n)));
                assert!(sleep.as_mut().poll(&mut cx).is_pending());
                sleep
            };
            let others: Vec<_> = (0..alive).map(armed).collect();
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
}

/// One timer that is set anew, as an idle timeout is: taken out of the wheel and put in
/// elsewhere, without a look at the clock.
fn moved(table: &mut Table) {
    let runtime = runtime();
    table.measure(&Row::informative("timer insert + cancel (reset)"), |rounds| {
        runtime.block_on(async {
            let mut cx = Context::from_waker(Waker::noop());
            let base = time::Instant::now();
            let mut sleep = pin!(sleep(Duration::from_secs(1)));
            let start = Instant::now();
            for n in 0..rounds {
                sleep.reset(base + Duration::from_millis(60_000 + n % 30_000));
                assert!(sleep.as_mut().poll(&mut cx).is_pending());
            }
            start.elapsed()
        })
    });
}

/// What a sleep that is told a duration pays on top.
fn clock(table: &mut Table) {
    table.measure(&Row::informative("clock read"), |rounds| {
        let start = Instant::now();
        for _ in 0..rounds {
            black_box(time::Instant::now());
        }
        start.elapsed()
    });
}
