//! A task's life on its own core: spawn, join, yield, wake.

use std::cell::RefCell;
use std::future::poll_fn;
use std::hint::black_box;
use std::rc::Rc;
use std::task::{Poll, Waker};
use std::time::Instant;

use coronet::spawn;
use coronet::task::yield_now;

use crate::table::{Row, Table};
use crate::{runtime, scaled};

pub(crate) fn measure(table: &mut Table) {
    spawns(table);
    yields(table, &Row::within("yield, 2 tasks", 20.0), 2);
    yields(table, &Row::within("yield, 1000 tasks", 25.0), 1000);
    wakes(table);
}

fn spawns(table: &mut Table) {
    const TASKS: u64 = 1_000_000;
    let runtime = runtime();
    let row = Row {
        name: "spawn 1M, then join all",
        reach: Some(60.0),
        obstacle: "page faults: the allocator gives a burst back; where it keeps it, 0.42 of this",
    };
    table.measure(&row, |rounds| {
        scaled(rounds, TASKS, || {
            let start = Instant::now();
            runtime.block_on(async {
                let handles: Vec<_> = (0..TASKS).map(|n| spawn(async move { black_box(n) })).collect();
                for handle in handles {
                    handle.await.unwrap();
                }
            });
            start.elapsed()
        })
    });
    let row = Row {
        name: "spawn + join, one by one",
        reach: Some(40.0),
        obstacle: "39 or 62 ns, from run to run of one binary: it seems to matter where its memory lies",
    };
    table.measure(&row, |rounds| {
        let start = Instant::now();
        runtime.block_on(async {
            for n in 0..rounds {
                spawn(async move { black_box(n) }).await.unwrap();
            }
        });
        start.elapsed()
    });
}

fn yields(table: &mut Table, row: &Row, tasks: u64) {
    let runtime = runtime();
    table.measure(row, |rounds| {
        let each = rounds.div_ceil(tasks);
        let start = Instant::now();
        runtime.block_on(async {
            let yields = || async move {
                for _ in 0..each {
                    yield_now().await;
                }
            };
            let handles: Vec<_> = (0..tasks).map(|_| spawn(yields())).collect();
            for handle in handles {
                handle.await.unwrap();
            }
        });
        start.elapsed().mul_f64(rounds as f64 / (each * tasks) as f64)
    });
}

/// Wakes sleepers by reference, all of them, and lets each run once: it goes back to sleep.
fn wakes(table: &mut Table) {
    const SLEEPERS: u64 = 1000;
    let runtime = runtime();
    table.measure(&Row::informative("local wake and run, 1000 sleepers"), |rounds| {
        let wakers: Rc<RefCell<Vec<Waker>>> = Rc::default();
        runtime.block_on(async {
            let sleeper = |wakers: Rc<RefCell<Vec<Waker>>>| {
                let mut is_known = false;
                poll_fn(move |cx| {
                    if !std::mem::replace(&mut is_known, true) {
                        wakers.borrow_mut().push(cx.waker().clone());
                    }
                    Poll::<()>::Pending
                })
            };
            let handles: Vec<_> = (0..SLEEPERS).map(|_| spawn(sleeper(wakers.clone()))).collect();
            while wakers.borrow().len() < handles.len() {
                yield_now().await;
            }
            let passes = rounds.div_ceil(SLEEPERS);
            let start = Instant::now();
            for _ in 0..passes {
                wakers.borrow().iter().for_each(Waker::wake_by_ref);
                // Behind all sleepers in the run queue, so each of them runs before it.
                spawn(async {}).await.unwrap();
            }
            let elapsed = start.elapsed();
            wakers.take();
            handles.iter().for_each(|handle| handle.abort());
            elapsed.mul_f64(rounds as f64 / (passes * SLEEPERS) as f64)
        })
    });
}
