//! The end of a runtime, of a task, and of a program that holds it wrong: everything comes back,
//! in time, and what is used afterwards answers with an error.

mod support;

use std::cell::Cell;
use std::io::{ErrorKind, Read};
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::task::Poll;
use std::time::{Duration, Instant};

use coronet::net::{Shutdown, TcpListener, TcpStream};
use coronet::ring::op;
use coronet::task::yield_now;
use coronet::{Builder, Lease, Runtime, metrics};
use futures_util::future::poll_immediate;
use rustix::process::{Resource, getrlimit, setrlimit};
use support::{
    alone, assert_descriptors, open_descriptors, pair, panic_of, poll_once, runtime_or_skip, skip, std_pair,
    text_of, world,
};

/// Raises the limit of descriptors; false if that is not allowed.
fn may_open(count: u64) -> bool {
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < count) {
        limit.current = Some(count);
        return setrlimit(Resource::Nofile, limit).is_ok();
    }
    true
}

/// Puts a thousand operations of every kind in flight.
async fn fill(runtime_peers: &mut Vec<StdStream>) {
    for _ in 0..400 {
        let (stream, peer) = pair();
        runtime_peers.push(peer);
        drop(coronet::spawn(async move { drop(stream.recv().await) }));
    }
    for _ in 0..200 {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        drop(coronet::spawn(async move { drop(listener.accept().await) }));
    }
    let handle = coronet::ring::current().handle().clone();
    for _ in 0..400 {
        let timer = handle.submit(op::Timeout::new(Duration::from_secs(1_000)));
        drop(coronet::spawn(async move { drop(timer.await) }));
    }
    while metrics().in_flight < 1_000 {
        yield_now().await;
    }
}

#[test]
fn a_runtime_with_a_thousand_operations_in_flight_ends_at_once() {
    let _alone = alone();
    if !may_open(4_000) {
        return skip("needs 4,000 descriptors");
    }
    end_with_a_thousand_in_flight(Runtime::builder());
}

/// The trap: most operations and most cancels find the queue full.
#[test]
fn a_runtime_whose_ring_is_tiny_ends_at_once_as_well() {
    let _alone = alone();
    if !may_open(4_000) {
        return skip("needs 4,000 descriptors");
    }
    end_with_a_thousand_in_flight(Runtime::builder().entries(8));
}

#[track_caller]
fn end_with_a_thousand_in_flight(builder: Builder) {
    let before = open_descriptors();
    let Some(runtime) = runtime_or_skip(builder) else { return };
    let mut peers = Vec::new();
    runtime.block_on(fill(&mut peers));
    assert_eq!(runtime.metrics().in_flight, 1_000);
    let start = Instant::now();
    drop(runtime);
    assert!(start.elapsed() < Duration::from_secs(2), "it took {:?}", start.elapsed());
    for mut peer in peers.drain(..) {
        assert_eq!(peer.read(&mut [0; 8]).unwrap(), 0, "closed");
    }
    assert_descriptors(before);
}

/// The trap: the write wants to run to its end, and its peer never lets it.
#[test]
fn a_write_that_cannot_end_holds_the_runtime_up_no_longer_than_its_drain_timeout() {
    const DRAIN: Duration = Duration::from_millis(600);
    let _alone = alone();
    let before = open_descriptors();
    let Some(runtime) = runtime_or_skip(Runtime::builder().drain_timeout(DRAIN)) else { return };
    let peer = runtime.block_on(async {
        let (stream, peer) = pair();
        let write = poll_immediate(stream.write_all(vec![7; 64 << 20])).await;
        assert!(write.is_none(), "64 MiB do not fit into a socket");
        yield_now().await;
        peer
    });
    assert_eq!(runtime.metrics().in_flight, 1, "the write goes on");
    let start = Instant::now();
    drop(runtime);
    let took = start.elapsed();
    assert!(took > DRAIN / 2, "it gave the write only {took:?}");
    assert!(took < DRAIN + Duration::from_millis(400), "it took {took:?}");
    drop(peer);
    assert_descriptors(before);
}

/// The trap: a write that the peer does take is not to be cut by the end of the runtime.
#[test]
fn a_dropped_write_still_arrives_while_the_runtime_ends() {
    const LEN: usize = 32 << 20;
    let _alone = alone();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let reader = runtime.block_on(async {
        let (stream, mut peer) = pair();
        assert!(poll_immediate(stream.write_all(vec![7; LEN])).await.is_none());
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).map(|count| (count, bytes.iter().all(|byte| *byte == 7)))
        })
    });
    drop(runtime);
    assert_eq!(reader.join().unwrap().unwrap(), (LEN, true));
}

#[test]
fn what_outlives_its_runtime_answers_with_errors() {
    let _alone = alone();
    let before = open_descriptors();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let (armed, unused, listener, lease, peers) = runtime.block_on(async {
        let (armed, mut peer) = pair();
        std::io::Write::write_all(&mut peer, b"kept").unwrap();
        let lease: Lease = armed.recv().await.unwrap();
        assert!(poll_immediate(armed.recv()).await.is_none());
        let (unused, peer_of_unused) = pair();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        assert!(poll_immediate(listener.accept()).await.is_none());
        (armed, unused, listener, lease, [peer, peer_of_unused])
    });
    drop(runtime);
    assert_eq!(&*lease, b"kept", "pooled memory lives as long as its leases");

    // Once with nobody to wait, once within another runtime: no hang, no panic.
    for stream in [&armed, &unused] {
        let Poll::Ready(Err(error)) = poll_once(stream.recv()) else { panic!("recv") };
        assert_eq!(error.raw_os_error(), Some(125), "cancelled: {error}");
        let Poll::Ready((Err(_), buf)) = poll_once(stream.write_all("x")) else { panic!("write_all") };
        assert_eq!(buf, "x");
        assert!(poll_once(stream.flush()).is_ready());
        stream.shutdown(Shutdown::Write).unwrap();
    }
    assert!(matches!(poll_once(listener.accept()), Poll::Ready(Err(_))));
    let other = Runtime::new().unwrap();
    other.block_on(async {
        assert!(armed.recv().await.unwrap().is_empty(), "an error once, the end ever after");
        assert!(unused.read(Vec::with_capacity(8)).await.0.is_ok_and(|count| count == 0));
        assert!(unused.write_vectored(["a", "b"]).await.0.is_err());
        let _ = armed.close().await;
        assert!(unused.into_std().is_ok());
        assert!(listener.close().await.is_empty());
    });
    drop((other, lease, peers));
    assert_descriptors(before);
}

#[test]
fn futures_in_tasks_that_outlive_their_runtime_do_not_keep_it() {
    let _alone = alone();
    let before = open_descriptors();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let (stream, peer) = runtime.block_on(async { pair() });
    let mut recv = Box::pin(async move { stream.recv().await.map(|bytes| bytes.len()) });
    assert!(poll_once(recv.as_mut()).is_pending());
    let start = Instant::now();
    drop(runtime);
    assert!(start.elapsed() < Duration::from_secs(1), "it is cancelled, not waited for");
    let Poll::Ready(Err(_)) = poll_once(recv.as_mut()) else { panic!("it hangs") };
    drop((recv, peer));
    assert_descriptors(before);
}

#[test]
fn block_on_inside_of_block_on_panics_readably_and_the_outer_one_goes_on() {
    let _alone = alone();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let text = runtime.block_on(async {
        let text = panic_of(|| runtime.block_on(async {}));
        let of_another = panic_of(|| coronet::run(async {}));
        assert_eq!(text, of_another);
        // The runtime that panicked was put back, with its sockets.
        let (stream, peer) = pair();
        drop(peer);
        assert!(stream.recv().await.unwrap().is_empty());
        text
    });
    assert!(text.contains("block_on inside of block_on"), "{text}");
    assert!(text.contains("spawn it"), "it says what to do: {text}");
}

#[test]
fn outside_of_a_runtime_everything_panics_readably() {
    let _alone = alone();
    let needs_driver = "no driver on this thread: sockets are used inside of a runtime";
    let (ours, _peer) = std_pair();
    assert_eq!(panic_of(|| drop(TcpStream::from(ours))), needs_driver);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    assert_eq!(panic_of(|| drop(TcpListener::from(listener))), needs_driver);
    assert_eq!(panic_of(|| drop(poll_once(TcpStream::connect(address)))), needs_driver);
    assert_eq!(panic_of(|| drop(poll_once(TcpListener::bind("127.0.0.1:0")))), needs_driver);
    let text = panic_of(|| drop(coronet::spawn(async {})));
    assert!(text.contains("inside of `block_on`"), "{text}");
    let text = panic_of(|| assert!(poll_once(coronet::time::sleep(Duration::MAX)).is_pending()));
    assert!(text.contains("inside of `block_on`"), "{text}");
    assert_eq!(metrics(), coronet::Metrics::default());
}

#[test]
fn a_task_that_panics_closes_its_sockets_and_the_core_lives() {
    world(async {
        let (stream, mut peer) = pair();
        let task = coronet::spawn(async move {
            let bytes = stream.recv().await.unwrap();
            panic!("the peer said {:?}", String::from_utf8_lossy(&bytes));
        });
        std::io::Write::write_all(&mut peer, b"boo").unwrap();
        let error = task.await.map(|never: ()| never).unwrap_err();
        assert!(error.is_panic());
        assert_eq!(text_of(&*error.into_panic()), "the peer said \"boo\"");
        let end = support::beside(move || peer.read(&mut [0; 8])).await;
        assert_eq!(end.unwrap(), 0, "its socket is closed");
        let (stream, peer) = pair();
        drop(peer);
        assert!(stream.recv().await.unwrap().is_empty(), "the core works");
    });
}

/// The trap: the destructors of tasks run when the runtime ends, and use it.
#[test]
fn destructors_of_tasks_still_find_their_core_when_the_runtime_ends() {
    struct OnDrop<F: FnMut()>(F);
    impl<F: FnMut()> Drop for OnDrop<F> {
        fn drop(&mut self) {
            self.0();
        }
    }
    let _alone = alone();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let seen = Rc::new(Cell::new(None));
    let told = seen.clone();
    runtime.block_on(async move {
        let (stream, peer) = pair();
        let (stream, mut spare) = (Rc::new(stream), Some(peer));
        drop(coronet::spawn(async move {
            let reader = stream.clone();
            let _on_drop = OnDrop(move || {
                let adopted = spare.take().map(TcpStream::from);
                told.set(Some((metrics().submitted, adopted.is_some())));
            });
            let _ = reader.recv().await;
        }));
        yield_now().await;
    });
    let submitted = runtime.metrics().submitted;
    drop(runtime);
    assert_eq!(seen.get(), Some((submitted, true)));
}

#[test]
fn aborting_a_task_gives_back_what_it_waited_for() {
    world(async {
        let (stream, _peer) = pair();
        let (ended, end) = coronet::sync::oneshot::channel::<()>();
        let task = coronet::spawn(async move {
            let _ended = ended;
            stream.recv().await.map(drop)
        });
        yield_now().await;
        task.abort();
        assert!(task.await.unwrap_err().is_cancelled());
        assert!(end.await.is_err());
    });
}

#[test]
fn the_second_block_on_goes_on_with_the_tasks_of_the_first() {
    let _alone = alone();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let (task, mut peer) = runtime.block_on(async {
        let (stream, peer) = pair();
        (coronet::spawn(async move { stream.recv().await.map(|bytes| bytes.len()) }), peer)
    });
    std::io::Write::write_all(&mut peer, b"later").unwrap();
    let received: std::io::Result<usize> = runtime.block_on(async { task.await.unwrap() });
    assert_eq!(received.unwrap(), 5);
    let kind = runtime.block_on(async { TcpStream::connect("127.0.0.1:1").await.unwrap_err().kind() });
    assert_eq!(kind, ErrorKind::ConnectionRefused);
}
