//! One who takes much does not starve those who want little.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use coronet::metrics;
use coronet::net::Shutdown;
use coronet::ring::Lease;
use coronet::time::{Instant, sleep};

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{bytes_at, check, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(a_flood_on_one_connection_does_not_starve_another),
    promise!(streams_that_all_flood_each_get_their_turn),
    promise!(a_reader_that_keeps_what_it_gets_leaves_the_pool_to_others),
    promise!(streams_that_nobody_reads_do_not_stop_others_and_lose_nothing),
    promise!(a_flood_does_not_hold_up_timers),
    promise!(a_task_that_never_waits_lets_others_run),
];

/// Sends and receives as much as goes, until told to stop.
async fn flood(over: Rc<Cell<bool>>) {
    let (stream, peer) = pair().await;
    let told = over.clone();
    let writer = coronet::spawn(async move {
        let bytes = vec![7; 16 * 1024];
        let mut spare = bytes;
        while !told.get() {
            let (result, bytes) = peer.write_all(spare).await;
            result.expect("the peer reads");
            spare = bytes;
        }
    });
    while !stream.recv().await.expect("no reset").is_empty() {}
    writer.await.expect("no panic");
}

async fn a_flood_on_one_connection_does_not_starve_another(kernel: Kernel) {
    let over = Rc::new(Cell::new(false));
    let flood = coronet::spawn(flood(over.clone()));
    exchange(kernel.count(300, 20)).await;
    over.set(true);
    flood.await.expect("no panic");
}

/// The trap: together they bring more than the pool holds, so most of them find no buffer; who found none once may
/// find none for ever. Nobody stops before each has got its share.
async fn streams_that_all_flood_each_get_their_turn(kernel: Kernel) {
    let (count, share) = (kernel.count(64, 6), kernel.count(1 << 20, 20_000));
    let behind = Rc::new(Cell::new(count));
    let mut floods = Vec::new();
    for _ in 0..count {
        let (stream, peer) = pair().await;
        let told = behind.clone();
        let writer = coronet::spawn(async move {
            let mut spare = vec![7; kernel.count(64 << 10, 4_000)];
            while told.get() > 0 {
                let (result, bytes) = peer.write_all(spare).await;
                result.expect("the peer reads");
                spare = bytes;
            }
        });
        let behind = behind.clone();
        floods.push(coronet::spawn(async move {
            let mut bytes = 0;
            loop {
                let lease = stream.recv().await.expect("no reset");
                if lease.is_empty() {
                    break;
                }
                if bytes < share && bytes + lease.len() >= share {
                    behind.set(behind.get() - 1);
                }
                bytes += lease.len();
            }
            writer.await.expect("no panic");
        }));
    }
    for flood in floods {
        flood.await.expect("no panic");
    }
    assert_eq!(behind.get(), 0);
}

/// So many messages there and back, on a connection of their own.
async fn exchange(rounds: usize) {
    let (stream, peer) = pair().await;
    let echo = coronet::spawn(async move { coronet::io::forward(&peer, &peer).await.expect("an echo") });
    for round in 0..rounds {
        stream.write_all(bytes_at(round * 10, 10)).await.0.expect("the peer reads");
        let (result, bytes) = stream.read_exact([0; 10]).await;
        result.expect("the answer");
        check(round * 10, &bytes);
    }
    drop(stream);
    echo.await.expect("no panic");
}

/// Takes `len` bytes and keeps each lease.
async fn hoard(len: usize) -> Vec<Lease> {
    let (stream, peer) = pair().await;
    let writer = coronet::spawn(async move {
        for start in (0..len).step_by(4_000) {
            peer.write_all(bytes_at(start, (len - start).min(4_000))).await.0.expect("the peer reads");
        }
    });
    let (mut kept, mut bytes) = (Vec::new(), 0);
    while bytes < len {
        let lease = stream.recv().await.expect("no reset");
        check(bytes, &lease);
        bytes += lease.len();
        kept.push(lease);
    }
    writer.await.expect("no panic");
    kept
}

async fn a_reader_that_keeps_what_it_gets_leaves_the_pool_to_others(kernel: Kernel) {
    /// At first, what one stream may keep of what came on top, and completions that were under way then.
    const BYTES_MAX: u64 = (2 + 1 + 5) << 20;
    let kept = hoard(kernel.count(24 << 20, 300_000)).await;
    let before = metrics();
    assert!(before.pool_bytes <= BYTES_MAX, "{before:?}");
    exchange(kernel.count(300, 20)).await;
    let after = metrics();
    if kernel != Kernel::Simulated && before.pool_bytes > 0 {
        assert!(before.receives_over_budget > 0, "{before:?}");
        assert_eq!(after.receives_without_pool, before.receives_without_pool, "it found buffers: {after:?}");
    }
    drop(kept);
}

/// The trap: what nobody takes holds all there is, and who would take something gets nothing.
async fn streams_that_nobody_reads_do_not_stop_others_and_lose_nothing(kernel: Kernel) {
    let (count, len) = (kernel.count(8, 3), kernel.count(8 << 20, 30_000));
    let mut floods = Vec::new();
    for _ in 0..count {
        let (stream, peer) = pair().await;
        let writer = coronet::spawn(async move {
            peer.write_all(bytes_at(0, len)).await.0.expect("the peer reads");
            peer.shutdown(Shutdown::Write).expect("connected");
        });
        // Taken once, it is armed, and goes on by itself.
        let first = stream.recv().await.expect("no reset");
        check(0, &first);
        floods.push((stream, writer, first.len()));
    }
    for _ in 0..20 {
        sleep(Duration::from_millis(1)).await;
    }
    exchange(kernel.count(300, 20)).await;
    for (stream, writer, start) in floods {
        assert_eq!(read_all(&stream, start).await, len);
        writer.await.expect("no panic");
    }
}

async fn a_flood_does_not_hold_up_timers(_: Kernel) {
    let over = Rc::new(Cell::new(false));
    let flood = coronet::spawn(flood(over.clone()));
    for _ in 0..10 {
        let start = Instant::now();
        sleep(Duration::from_millis(1)).await;
        assert!(start.elapsed() < Duration::from_secs(5), "it was held up for {:?}", start.elapsed());
    }
    over.set(true);
    flood.await.expect("no panic");
}

async fn a_task_that_never_waits_lets_others_run(_: Kernel) {
    let (over, turns) = (Rc::new(Cell::new(false)), Rc::new(Cell::new(0)));
    let (told, counted) = (over.clone(), turns.clone());
    let busy = coronet::spawn(async move {
        while !told.get() {
            counted.set(counted.get() + 1);
            coronet::task::yield_now().await;
        }
    });
    for _ in 0..50 {
        coronet::task::yield_now().await;
    }
    over.set(true);
    busy.await.expect("no panic");
    assert!(turns.get() > 0, "it had its turn");
}
