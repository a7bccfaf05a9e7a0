//! Too much of everything: it waits, it is bounded, it goes on.

use std::net::SocketAddr;
use std::time::Duration;

use coronet::metrics;
use coronet::net::{Shutdown, TcpStream};
use coronet::ring::op;
use coronet::task::JoinSet;
use coronet::time::sleep;
use futures_util::future::join_all;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{bytes_at, check, handle, listener, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(without_descriptors_accept_waits_and_serves_all_in_the_end),
    promise!(a_slow_reader_bounds_what_is_held_for_it_and_loses_nothing),
    promise!(a_slow_writer_keeps_nobody_busy),
    promise!(operations_that_find_the_queue_full_run_in_the_end).entries(8),
    promise!(many_streams_share_few_buffers),
    promise!(memory_that_a_burst_took_goes_back),
];

async fn ping(address: SocketAddr) {
    let stream = loop {
        // This side has no descriptors either.
        match TcpStream::connect(address).await {
            Ok(stream) => break stream,
            Err(error) => assert!(error.to_string().contains("open files"), "{error}"),
        }
        sleep(Duration::from_millis(3)).await;
    };
    stream.write_all("ping").await.0.expect("it listens");
    let (result, bytes) = stream.read_exact([0; 4]).await;
    result.expect("an answer");
    assert_eq!(&bytes, b"ping");
}

async fn without_descriptors_accept_waits_and_serves_all_in_the_end(kernel: Kernel) {
    const CLIENTS: usize = 8;
    let rounds = kernel.count(8, 2);
    let (listener, address) = listener().await;
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            coronet::spawn(async move {
                for _ in 0..rounds {
                    ping(address).await;
                }
            })
        })
        .collect();
    // Fewer than two for each client: some have to wait until others are served.
    let limited = kernel.leave_descriptors(11);
    let mut tasks = JoinSet::new();
    for _ in 0..CLIENTS * rounds {
        let (stream, _) = listener.accept().await.expect("it neither ends nor fails");
        let _ = tasks.spawn(async move {
            coronet::io::forward(&stream, &stream).await.expect("an echo");
        });
    }
    for client in clients {
        client.await.expect("no panic");
    }
    while let Some(served) = tasks.join_next().await {
        served.expect("no panic");
    }
    drop(limited);
}

async fn a_slow_reader_bounds_what_is_held_for_it_and_loses_nothing(kernel: Kernel) {
    let len = kernel.count(32 << 20, 400_000);
    let (stream, peer) = pair().await;
    let writer = coronet::spawn(async move {
        for start in (0..len).step_by(4_096) {
            peer.write_all(bytes_at(start, (len - start).min(4_096))).await.0.expect("the peer reads");
        }
        peer.shutdown(Shutdown::Write).expect("connected");
        peer
    });
    let first = stream.recv().await.expect("no reset");
    check(0, &first);
    let position = first.len();
    drop(first);
    for _ in 0..20 {
        sleep(Duration::from_millis(1)).await;
        assert!(metrics().leased <= 64, "{:?}", metrics());
    }
    assert_eq!(read_all(&stream, position).await, len);
    drop(writer.await.expect("no panic"));
}

async fn a_slow_writer_keeps_nobody_busy(_: Kernel) {
    let (stream, peer) = pair().await;
    let write = async {
        for position in 0..20 {
            sleep(Duration::from_millis(2)).await;
            peer.write_all(bytes_at(position, 1)).await.0.expect("the peer reads");
        }
        peer.shutdown(Shutdown::Write).expect("connected");
    };
    let before = metrics().polls;
    let ((), read) = coronet::join!(write, read_all(&stream, 0));
    assert_eq!(read, 20);
    let polls = metrics().polls - before;
    assert!(polls < 1_000, "{polls} polls for 20 bytes");
}

async fn operations_that_find_the_queue_full_run_in_the_end(kernel: Kernel) {
    let count = kernel.count(5_000, 300);
    let timers = (0..count)
        .map(|number| handle().submit(op::Timeout::new(Duration::from_micros(number as u64 % 700))));
    let timers: Vec<_> = timers.collect();
    assert!(join_all(timers).await.iter().all(Result::is_ok));
}

async fn many_streams_share_few_buffers(kernel: Kernel) {
    let (count, len) = (kernel.count(150, 20), kernel.count(100_000, 6_000));
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (stream, peer) = pair().await;
        let _ = tasks.spawn(async move {
            peer.write_all(bytes_at(0, len)).await.0.expect("the peer reads");
        });
        let _ = tasks.spawn(async move {
            assert_eq!(read_all(&stream, 0).await, len);
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.expect("no panic");
    }
}

/// The trap: buffers in the kernel's ring cannot be taken from it, so they go back as traffic brings them home.
async fn memory_that_a_burst_took_goes_back(kernel: Kernel) {
    let (count, len) = (kernel.count(16, 12), kernel.count(512 << 10, 4_000));
    let piece = kernel.count(3_000, 300);
    let (stream, peer) = pair().await;
    let start = metrics();
    let mut tasks = JoinSet::new();
    for _ in 0..count {
        let (stream, peer) = pair().await;
        let _ = tasks.spawn(async move {
            let write = async {
                for start in (0..len).step_by(piece) {
                    peer.write_all(bytes_at(start, (len - start).min(piece))).await.0.expect("it reads");
                }
            };
            let read = async {
                let (mut kept, mut bytes) = (Vec::new(), 0);
                while bytes < len {
                    kept.push(stream.recv().await.expect("no reset"));
                    bytes += kept.last().map_or(0, |lease| lease.len());
                }
                kept
            };
            coronet::join!(write, read).1
        });
    }
    let mut kept = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        kept.push(ended.expect("no panic"));
    }
    let burst = metrics();
    drop(kept);
    if kernel == Kernel::Simulated {
        // It says that there is no buffer, now and then, whatever there is: so the pool grows on.
        return;
    }
    for round in 0..4_000 {
        if metrics().pool_bytes <= start.pool_bytes {
            break;
        }
        // As much as a buffer holds, so that it is used up also where one serves many receives.
        let piece = 256 << 10;
        let write = async { peer.write_all(bytes_at(round, piece)).await.0.expect("it reads") };
        let (result, _) = coronet::join!(stream.read_exact(Vec::with_capacity(piece)), write).0;
        result.expect("no reset");
        sleep(Duration::from_millis(5)).await;
    }
    let end = metrics();
    assert_eq!(end.pool_bytes, start.pool_bytes, "{end:?}");
    assert_eq!(end.pool_grown - start.pool_grown, end.pool_shrunk - start.pool_shrunk, "{end:?}");
    if start.pool_bytes > 0 {
        assert!(burst.pool_bytes > start.pool_bytes, "the burst was larger than the pool: {burst:?}");
    }
}
