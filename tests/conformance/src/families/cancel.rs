//! Futures that are dropped in any state, and operations that are cancelled by name: each cell of
//! "who gets what".

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use coronet::net::{TcpListener, TcpStream};
use coronet::ring::{SharedFd, op};
use coronet::task::yield_now;
use coronet::time::{Instant, sleep, timeout};
use futures_util::future::{join_all, poll_immediate};
use futures_util::{FutureExt, select_biased};

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{Sequence, bytes_at, check, handle, listener, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(every_client_is_served_though_accept_races_a_timer_ten_thousand_times).every(50),
    promise!(an_accept_that_is_dropped_loses_no_connection),
    promise!(an_accept_that_was_never_polled_takes_nothing),
    promise!(a_read_exact_that_loses_every_race_loses_no_byte),
    promise!(a_read_that_is_dropped_loses_no_byte),
    promise!(a_write_that_was_never_polled_sends_nothing),
    promise!(a_receive_that_is_cancelled_says_what_it_received),
    promise!(an_accept_that_is_cancelled_took_a_client_or_left_it_in_the_backlog),
    promise!(a_timer_that_is_cancelled_says_so_or_ran_out),
    promise!(a_poll_that_is_dropped_is_gone),
    promise!(operations_that_are_dropped_unsent_leave_nothing).entries(8),
    promise!(a_cancel_that_finds_the_queue_full_is_not_lost).entries(8),
    promise!(a_cancel_that_comes_late_hits_nobody_else).entries(8),
    promise!(ten_thousand_timers_of_one_moment_all_end_in_time).entries(64).every(100),
];

/// One client after the other; each has to hear from the server.
async fn clients_in_turn(address: std::net::SocketAddr, until: Rc<Cell<bool>>) -> usize {
    let mut served = 0;
    while !until.get() {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let (result, bytes) = stream.read_exact([0; 6]).await;
        result.expect("served");
        assert_eq!(&bytes, b"served");
        served += 1;
        sleep(Duration::from_millis(3)).await;
    }
    served
}

async fn serve(listener: &TcpListener, limit: Duration) -> bool {
    let accepted = select_biased! {
        accepted = listener.accept().fuse() => accepted,
        () = sleep(limit).fuse() => return false,
    };
    let (stream, _) = accepted.expect("the listener lives");
    stream.write_all("served").await.0.expect("the client waits");
    true
}

async fn every_client_is_served_though_accept_races_a_timer_ten_thousand_times(_: Kernel) {
    let (listener, address) = listener().await;
    let over = Rc::new(Cell::new(false));
    let clients = coronet::spawn(clients_in_turn(address, over.clone()));
    let mut served = 0;
    for _ in 0..10_000 {
        served += usize::from(serve(&listener, Duration::from_millis(1)).await);
    }
    over.set(true);
    while !clients.is_finished() {
        served += usize::from(serve(&listener, Duration::from_millis(1)).await);
    }
    assert_eq!(clients.await.expect("no panic"), served);
    assert!(served > 500, "only {served} clients came");
}

async fn an_accept_that_is_dropped_loses_no_connection(kernel: Kernel) {
    let count = kernel.count(300, 12);
    let (listener, address) = listener().await;
    let clients: Vec<_> = (0..count)
        .map(|_| {
            coronet::spawn(async move {
                let stream = TcpStream::connect(address).await.expect("it listens");
                assert!(stream.recv().await.expect("no reset").is_empty());
            })
        })
        .collect();
    let (mut accepted, mut patience_us) = (Vec::new(), 0);
    while accepted.len() < count {
        patience_us = (patience_us * 5 + 1) % 90;
        if let Ok(result) = timeout(Duration::from_micros(patience_us), listener.accept()).await {
            accepted.push(result.expect("the listener lives").0);
        }
    }
    drop(accepted);
    for client in clients {
        client.await.expect("no panic");
    }
}

async fn an_accept_that_was_never_polled_takes_nothing(_: Kernel) {
    let (listener, address) = listener().await;
    drop(listener.accept());
    let client = TcpStream::connect(address).await.expect("it listens");
    drop(listener.accept());
    let (_stream, peer) = listener.accept().await.expect("the client waits");
    assert_eq!(peer, client.local_addr().expect("connected"));
}

/// 256 bytes come one by one, and the limit is much shorter than that takes.
async fn a_read_exact_that_loses_every_race_loses_no_byte(kernel: Kernel) {
    let messages = kernel.count(6, 2);
    let (limit, pause) = (Duration::from_millis(50), Duration::from_millis(1));
    let (stream, peer) = pair().await;
    let write = async {
        for position in 0..256 * messages {
            peer.write_all(bytes_at(position, 1)).await.0.expect("the peer reads");
            sleep(pause).await;
        }
    };
    let read = async {
        let mut lost = 0;
        for message in 0..messages {
            let (result, bytes) = loop {
                match timeout(limit, stream.read_exact([0; 256])).await {
                    Ok(read) => break read,
                    Err(_elapsed) => lost += 1,
                }
            };
            result.expect("all are on their way");
            check(256 * message, &bytes);
        }
        lost
    };
    let ((), lost) = coronet::join!(write, read);
    assert!(lost >= messages, "it lost {lost} races only");
}

async fn a_read_that_is_dropped_loses_no_byte(kernel: Kernel) {
    let len = kernel.count(300_000, 16_000);
    let (stream, peer) = pair().await;
    let writer = coronet::spawn(async move {
        for start in (0..len).step_by(800) {
            peer.write_all(bytes_at(start, 800)).await.0.expect("the peer reads");
        }
        peer
    });
    let (mut position, mut patience_us) = (0, 0);
    while position < len {
        patience_us = (patience_us * 7 + 3) % 400;
        let limit = Duration::from_micros(patience_us);
        if let Ok((result, bytes)) = timeout(limit, stream.read(Vec::with_capacity(300))).await {
            assert_eq!(result.expect("no reset"), bytes.len());
            check(position, &bytes);
            position += bytes.len();
        }
    }
    drop(writer.await.expect("no panic"));
}

async fn a_write_that_was_never_polled_sends_nothing(_: Kernel) {
    let (stream, peer) = pair().await;
    drop(stream.write_all("never"));
    drop(stream.write("never"));
    drop(stream.write_vectored(["never", "ever"]));
    stream.write_all(bytes_at(0, 10)).await.0.expect("connected");
    drop(stream);
    assert_eq!(read_all(&peer, 0).await, 10);
}

/// Receives by hand, and cancels at once: what was received is told, also by one that was cancelled.
async fn a_receive_that_is_cancelled_says_what_it_received(kernel: Kernel) {
    let len = kernel.count(200_000, 12_000);
    let (stream, peer) = pair().await;
    let writer = coronet::spawn(async move {
        for start in (0..len).step_by(500) {
            peer.write_all(bytes_at(start, 500)).await.0.expect("the peer reads");
        }
    });
    let socket = SharedFd::new(stream.into_std().expect("it was never read").into());
    let (mut position, mut sequence) = (0, Sequence::new(2));
    while position < len {
        let room = Vec::with_capacity(1 + sequence.below(700) as usize);
        let receive = handle().submit(op::Recv::new(socket.clone(), room, 0));
        for _ in 0..sequence.below(4) {
            yield_now().await;
        }
        // Not always: a cancel may win every time, against a kernel that is slow to start.
        if sequence.below(3) > 0 {
            receive.request_cancel();
        }
        let (result, bytes) = receive.await;
        match result {
            Ok(count) => assert_eq!(count, bytes.len()),
            Err(error) => {
                assert!(matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR)), "{error}");
                assert!(bytes.is_empty(), "what failed received nothing");
                sleep(Duration::from_micros(sequence.below(300))).await;
            }
        }
        check(position, &bytes);
        position += bytes.len();
    }
    writer.await.expect("no panic");
}

async fn an_accept_that_is_cancelled_took_a_client_or_left_it_in_the_backlog(kernel: Kernel) {
    let count = kernel.count(200, 10);
    let (listener, address) = listener().await;
    let socket = SharedFd::new(rustix::io::dup(&listener).expect("a descriptor"));
    if kernel == Kernel::Simulated {
        // A copy of the number is not a copy of the socket there: use the listener's own operations.
        return accept_cancelled_by_drop(&listener, address, count).await;
    }
    let clients: Vec<_> = (0..count)
        .map(|_| coronet::spawn(async move { TcpStream::connect(address).await.expect("it listens") }))
        .collect();
    let mut taken = Vec::new();
    while taken.len() < count {
        let accept = handle().submit(op::Accept::new(socket.clone()));
        yield_now().await;
        accept.request_cancel();
        match accept.await {
            Ok(fd) => taken.push(fd),
            Err(error) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}"),
        }
    }
    for client in clients {
        drop(client.await.expect("no panic"));
    }
}

async fn accept_cancelled_by_drop(listener: &TcpListener, address: std::net::SocketAddr, count: usize) {
    let clients = join_all((0..count).map(|_| TcpStream::connect(address)));
    let accepts = async {
        let mut taken = Vec::new();
        while taken.len() < count {
            if let Some(accepted) = poll_immediate(listener.accept()).await {
                taken.push(accepted.expect("the listener lives"));
            }
            sleep(Duration::from_micros(50)).await;
        }
    };
    let (clients, ()) = coronet::join!(clients, accepts);
    assert!(clients.iter().all(Result::is_ok));
}

async fn a_timer_that_is_cancelled_says_so_or_ran_out(_: Kernel) {
    for ms in [0, 1, 1_000_000] {
        let timer = handle().submit(op::Timeout::new(Duration::from_millis(ms)));
        sleep(Duration::from_micros(500)).await;
        timer.request_cancel();
        timer.request_cancel();
        match timer.await {
            Ok(()) => assert!(ms < 1_000_000, "it ran out too early"),
            Err(error) => {
                assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}");
            }
        }
    }
}

async fn a_poll_that_is_dropped_is_gone(kernel: Kernel) {
    let (reader, writer) = kernel.pipe();
    let (reader, writer) = (SharedFd::new(reader), SharedFd::new(writer));
    for turns in 0..5 {
        let mut poll = handle().submit(op::Poll::new(reader.clone(), libc::POLLIN as u32));
        for _ in 0..turns {
            assert!(poll_immediate(&mut poll).await.is_none(), "nothing was written");
            yield_now().await;
        }
        drop(poll);
    }
    drop(writer);
    let ready = handle().submit(op::Poll::new(reader.clone(), libc::POLLIN as u32)).await;
    assert!(ready.expect("a pipe") & libc::POLLHUP as u32 != 0, "the end of a pipe");
}

async fn operations_that_are_dropped_unsent_leave_nothing(_: Kernel) {
    let hour = || handle().submit(op::Timeout::new(Duration::from_secs(3_600)));
    let timers: Vec<_> = (0..100).map(|_| hour()).collect();
    drop(timers);
    let kept = hour();
    kept.request_cancel();
    assert_eq!(kept.await.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
}

/// The trap: most of the cancels have no place in the queue.
async fn a_cancel_that_finds_the_queue_full_is_not_lost(kernel: Kernel) {
    let count = kernel.count(500, 100);
    let hour = || handle().submit(op::Timeout::new(Duration::from_secs(1_000_000)));
    let timers: Vec<_> = (0..count).map(|_| hour()).collect();
    sleep(Duration::from_millis(1)).await;
    drop(timers);
    let named: Vec<_> = (0..count).map(|_| hour()).collect();
    sleep(Duration::from_millis(1)).await;
    named.iter().for_each(|timer| timer.request_cancel());
    for timer in named {
        let ended = timeout(Duration::from_secs(10), timer).await.expect("its cancel was lost");
        assert_eq!(ended.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
    }
}

/// The trap: a cancel that waits for room in the queue, whose operation ends meanwhile, and whose slot
/// another operation takes.
async fn a_cancel_that_comes_late_hits_nobody_else(kernel: Kernel) {
    for round in 0..kernel.count(50, 8) {
        let short = |us| handle().submit(op::Timeout::new(Duration::from_micros(us)));
        let timers: Vec<_> = (0..40).map(|number| short(number * 20)).collect();
        sleep(Duration::from_micros(50 * round as u64)).await;
        timers.iter().for_each(|timer| timer.request_cancel());
        let first = futures_util::future::select_all(timers).await;
        drop(first);
        let others: Vec<_> = (0..60).map(|_| short(700)).collect();
        for other in others {
            other.await.expect("nobody cancelled it");
        }
    }
}

async fn ten_thousand_timers_of_one_moment_all_end_in_time(_: Kernel) {
    let count = 10_000;
    let start = Instant::now();
    let timers: Vec<_> =
        (0..count).map(|_| handle().submit(op::Timeout::new(Duration::from_millis(20)))).collect();
    let sleeps = join_all((0..count).map(|_| sleep(Duration::from_millis(20))));
    let (timers, _) = coronet::join!(join_all(timers), sleeps);
    assert!(timers.iter().all(Result::is_ok));
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
}
