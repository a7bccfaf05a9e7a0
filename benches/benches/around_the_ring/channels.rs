//! Messages between two tasks of one core.

use std::time::Instant;

use coronet::spawn;
use coronet::sync::mpsc;
use coronet::task::yield_now;

use crate::runtime;
use crate::table::{Row, Table};

pub(crate) fn measure(table: &mut Table) {
    let runtime = runtime();
    table.measure(&Row::within("local channel, per message", 15.0), |rounds| {
        let start = Instant::now();
        runtime.block_on(async {
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
    table.measure(&Row::informative("local channel, unbounded, per message"), |rounds| {
        let start = Instant::now();
        runtime.block_on(async {
            let (sender, mut receiver) = mpsc::unbounded();
            let sending = spawn(async move {
                for n in 0..rounds {
                    sender.send(n).unwrap();
                    // As often as a bounded one would wait for room.
                    if n % 1024 == 0 {
                        yield_now().await;
                    }
                }
            });
            while receiver.recv().await.is_some() {}
            sending.await.unwrap();
        });
        start.elapsed()
    });
    table.measure(&Row::within("local channel, round trip", 120.0), |rounds| {
        let start = Instant::now();
        runtime.block_on(async {
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
}
