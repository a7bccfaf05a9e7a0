//! Results that come when nobody waits any more: each is given back, and nothing is freed before.

use std::time::Duration;

use coronet::metrics;
use coronet::net::TcpStream;
use coronet::ring::{SharedFd, op};
use coronet::task::yield_now;
use coronet::time::{sleep, timeout};
use futures_util::future::poll_immediate;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{Census, bytes_at, handle, listener, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(a_receive_whose_future_is_gone_may_still_be_written_to),
    promise!(a_stream_that_is_dropped_unread_gives_its_buffers_back),
    promise!(a_client_that_comes_after_the_accept_was_dropped_hears_the_end),
    promise!(a_connect_that_is_dropped_leaves_no_descriptor),
    promise!(a_stream_that_is_dropped_sends_the_write_that_was_under_way),
    promise!(a_buffer_lives_until_its_write_is_over_and_no_longer),
    promise!(a_listener_that_is_dropped_leaves_no_client_without_an_end),
];

async fn a_receive_whose_future_is_gone_may_still_be_written_to(kernel: Kernel) {
    for turns in 0..kernel.count(40, 6) {
        let (stream, peer) = pair().await;
        let socket = SharedFd::new(stream.into_std().expect("it was never read").into());
        let receives: Vec<_> = (0..4)
            .map(|_| handle().submit(op::Recv::new(socket.clone(), Vec::with_capacity(100), 0)))
            .collect();
        for _ in 0..turns {
            yield_now().await;
        }
        let write = peer.write_all(bytes_at(0, 300));
        let sending = coronet::join!(write, async {
            sleep(Duration::from_micros(100 * turns as u64)).await;
            drop(receives);
        });
        sending.0.0.expect("connected");
        drop(socket);
    }
}

async fn a_stream_that_is_dropped_unread_gives_its_buffers_back(kernel: Kernel) {
    for pieces in 0..kernel.count(40, 8) {
        let (stream, peer) = pair().await;
        // Arms it.
        assert!(poll_immediate(stream.recv()).await.is_none(), "nothing was sent");
        for piece in 0..pieces {
            peer.write_all(bytes_at(piece * 100, 100)).await.0.expect("connected");
        }
        sleep(Duration::from_millis(1)).await;
        drop(stream);
    }
}

async fn a_client_that_comes_after_the_accept_was_dropped_hears_the_end(kernel: Kernel) {
    for turns in 0..kernel.count(60, 8) {
        let (listener, address) = listener().await;
        assert!(poll_immediate(listener.accept()).await.is_none(), "nobody came");
        let client = coronet::spawn(async move {
            if let Ok(stream) = TcpStream::connect(address).await {
                // The end or a reset, but not silence.
                let heard = timeout(Duration::from_secs(60), stream.recv()).await.expect("silence");
                assert!(heard.map_or(true, |bytes| bytes.is_empty()));
            }
        });
        for _ in 0..turns {
            yield_now().await;
        }
        sleep(Duration::from_micros(40 * turns as u64)).await;
        drop(listener);
        client.await.expect("no panic");
    }
}

async fn a_connect_that_is_dropped_leaves_no_descriptor(kernel: Kernel) {
    let (listener, address) = listener().await;
    let server = coronet::spawn(async move {
        loop {
            drop(listener.accept().await.expect("the listener lives"));
        }
    });
    let mut patience_us = 0;
    for _ in 0..kernel.count(1_000, 30) {
        patience_us = (patience_us * 5 + 1) % 2_500;
        let connect = TcpStream::connect(address);
        let limit = Duration::from_micros(patience_us);
        if let Ok(connected) = timeout(limit, connect).await {
            connected.expect("it listens");
        }
    }
    server.abort();
    assert!(server.await.is_err());
}

async fn a_stream_that_is_dropped_sends_the_write_that_was_under_way(kernel: Kernel) {
    let len = kernel.count(4 << 20, 300_000);
    let (stream, peer) = pair().await;
    assert!(poll_immediate(stream.write_all(bytes_at(0, len))).await.is_none(), "it takes a while");
    drop(stream);
    assert_eq!(read_all(&peer, 0).await, len);
}

async fn a_buffer_lives_until_its_write_is_over_and_no_longer(kernel: Kernel) {
    let len = kernel.count(4 << 20, 200_000);
    let (stream, peer) = pair().await;
    let census = Census::default();
    assert!(poll_immediate(stream.write_all(census.buffer(bytes_at(0, len)))).await.is_none());
    let waiting = stream.write_all(census.buffer(bytes_at(len, 100)));
    assert_eq!(census.alive(), 2);
    drop(waiting);
    assert_eq!(census.alive(), 1, "the kernel never had it");
    drop(stream);
    yield_now().await;
    assert!(metrics().in_flight == 0 || census.alive() == 1, "the kernel has it");
    assert_eq!(read_all(&peer, 0).await, len);
    // The peer may know of the last byte before this side does.
    for _ in 0..1_000 {
        if census.alive() == 0 {
            break;
        }
        sleep(Duration::from_micros(100)).await;
    }
    assert_eq!(census.alive(), 0);
}

/// The trap: the last completion of an accept that nobody waits for may carry a connection.
async fn a_listener_that_is_dropped_leaves_no_client_without_an_end(kernel: Kernel) {
    let (listener, address) = listener().await;
    let clients: Vec<_> = (0..kernel.count(100, 10))
        .map(|_| {
            coronet::spawn(async move {
                if let Ok(stream) = TcpStream::connect(address).await {
                    let _ = timeout(Duration::from_secs(60), stream.recv()).await.expect("silence");
                }
            })
        })
        .collect();
    let (first, _) = listener.accept().await.expect("a client");
    drop((listener, first));
    for client in clients {
        client.await.expect("no panic");
    }
}
