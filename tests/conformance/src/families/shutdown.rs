//! Ends: of an object, of a task, of the runtime, with work under way.

use std::time::Duration;

use coronet::net::TcpStream;
use coronet::ring::{SharedFd, op};
use coronet::task::yield_now;
use coronet::time::{sleep, timeout};
use futures_util::future::poll_immediate;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{bytes_at, handle, listener, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(closing_a_listener_hands_back_or_ends_every_client),
    promise!(closing_a_stream_sends_what_a_dropped_write_has_left),
    promise!(closing_a_stream_that_receives_ends_the_receive),
    promise!(a_task_that_is_aborted_gives_back_what_it_waited_for),
    promise!(a_task_that_panics_closes_its_sockets),
    promise!(a_runtime_ends_with_everything_under_way).leaves(),
    promise!(a_runtime_ends_with_a_queue_that_is_full).leaves().entries(8),
    promise!(a_runtime_that_ends_lets_a_dropped_write_arrive).leaves(),
];

async fn closing_a_listener_hands_back_or_ends_every_client(kernel: Kernel) {
    let count = kernel.count(100, 12);
    let (listener, address) = listener().await;
    assert!(poll_immediate(listener.accept()).await.is_none(), "it is armed");
    let clients: Vec<_> = (0..count)
        .map(|_| {
            coronet::spawn(async move {
                let stream = TcpStream::connect(address).await.ok()?;
                let heard = timeout(Duration::from_secs(60), stream.read_exact([0; 3])).await;
                let (result, bytes) = heard.expect("silence");
                result.is_ok().then_some(bytes)
            })
        })
        .collect();
    let (first, _) = listener.accept().await.expect("a client");
    first.write_all("bye").await.0.expect("the client waits");
    let left = listener.close().await;
    for stream in &left {
        stream.write_all("bye").await.0.expect("the client waits");
    }
    let mut served = 0;
    for client in clients {
        served += usize::from(client.await.expect("no panic") == Some(*b"bye"));
    }
    assert_eq!(served, 1 + left.len());
}

async fn closing_a_stream_sends_what_a_dropped_write_has_left(kernel: Kernel) {
    let len = kernel.count(4 << 20, 300_000);
    let (stream, peer) = pair().await;
    assert!(poll_immediate(stream.recv()).await.is_none(), "nothing was sent");
    assert!(poll_immediate(stream.write_all(bytes_at(0, len))).await.is_none(), "it takes a while");
    let (closed, read) = coronet::join!(stream.close(), read_all(&peer, 0));
    closed.expect("all was sent");
    assert_eq!(read, len);
}

async fn closing_a_stream_that_receives_ends_the_receive(kernel: Kernel) {
    for turns in 0..kernel.count(30, 6) {
        let (stream, peer) = pair().await;
        assert!(poll_immediate(stream.recv()).await.is_none(), "nothing was sent");
        for _ in 0..turns {
            yield_now().await;
        }
        let _ = poll_immediate(peer.write_all(bytes_at(0, 100))).await;
        stream.close().await.expect("nothing was under way");
        // The end, or a reset where bytes had arrived that nobody read.
        while peer.recv().await.is_ok_and(|bytes| !bytes.is_empty()) {}
    }
}

async fn a_task_that_is_aborted_gives_back_what_it_waited_for(kernel: Kernel) {
    for turns in 0..kernel.count(30, 6) {
        let (stream, peer) = pair().await;
        let (listener, _) = listener().await;
        let task = coronet::spawn(async move {
            let timer = handle().submit(op::Timeout::new(Duration::from_secs(3_600)));
            let (received, _, _) = coronet::join!(stream.recv(), listener.accept(), timer);
            drop(received);
        });
        for _ in 0..turns {
            yield_now().await;
        }
        peer.write_all(bytes_at(0, 10)).await.0.expect("connected");
        task.abort();
        assert!(task.await.expect_err("aborted").is_cancelled());
    }
}

async fn a_task_that_panics_closes_its_sockets(_: Kernel) {
    // Not a panic of its own, which would be printed: one that is only passed on.
    let (stream, peer) = pair().await;
    let task = coronet::spawn(async move {
        let _stream = stream;
        sleep(Duration::from_millis(1)).await;
        std::panic::resume_unwind(Box::new("on purpose"));
    });
    let error = task.await.map(|never: ()| never).expect_err("it panics");
    assert!(error.is_panic());
    assert!(peer.recv().await.expect("no reset").is_empty(), "its socket is closed");
}

/// Leaves operations of every kind under way, and tasks that wait for them.
async fn leave_work(kernel: Kernel, count: usize) {
    let (listener, address) = listener().await;
    drop(coronet::spawn(async move {
        let mut kept = Vec::new();
        loop {
            kept.push(listener.accept().await);
        }
    }));
    let file = SharedFd::new(kernel.file());
    for number in 0..count {
        drop(coronet::spawn(async move {
            let stream = TcpStream::connect(address).await?;
            // More than fits, to a peer that does not read.
            let write = stream.write_all(vec![7; if number % 5 == 0 { 2 << 20 } else { 10 }]);
            let _ = timeout(Duration::from_micros(number as u64 * 50), write).await;
            stream.recv().await.map(drop)
        }));
        let timer = handle().submit(op::Timeout::new(Duration::from_secs(3_600)));
        drop(coronet::spawn(timer));
        drop(handle().submit(op::WriteAt::new(file.clone(), vec![1; 100], number as u64)));
        let read = handle().submit(op::ReadAt::new(file.clone(), Vec::with_capacity(100), 0));
        drop(coronet::spawn(read));
    }
    sleep(Duration::from_micros(700)).await;
}

async fn a_runtime_ends_with_everything_under_way(kernel: Kernel) {
    leave_work(kernel, kernel.count(100, 10)).await;
}

async fn a_runtime_ends_with_a_queue_that_is_full(kernel: Kernel) {
    leave_work(kernel, kernel.count(100, 10)).await;
    for _ in 0..kernel.count(300, 60) {
        drop(coronet::spawn(handle().submit(op::Timeout::new(Duration::from_secs(3_600)))));
    }
    yield_now().await;
    for _ in 0..40 {
        drop(handle().submit(op::Timeout::new(Duration::from_secs(3_600))));
    }
}

async fn a_runtime_that_ends_lets_a_dropped_write_arrive(_: Kernel) {
    let (stream, peer) = pair().await;
    let _ = poll_immediate(stream.write_all(bytes_at(0, 3_000))).await;
    drop(stream);
    drop(coronet::spawn(async move {
        read_all(&peer, 0).await;
    }));
}
