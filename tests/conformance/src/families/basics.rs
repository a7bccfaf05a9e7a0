//! What every program relies on, before anything goes wrong.

use std::cell::RefCell;
use std::io::ErrorKind;
use std::rc::Rc;
use std::time::Duration;

use coronet::metrics;
use coronet::net::{Shutdown, TcpStream};
use coronet::ring::op;
use coronet::time::{Instant, sleep, timeout};
use futures_util::future::join_all;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{bytes_at, check, handle, listener, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(a_client_gets_back_what_it_sent),
    promise!(each_direction_ends_on_its_own),
    promise!(both_sides_agree_on_their_addresses),
    promise!(a_connect_that_is_refused_is_an_error_and_leaves_nothing),
    promise!(timers_end_in_the_order_of_their_deadlines),
    promise!(a_timeout_gives_the_output_or_says_that_it_is_over),
    promise!(a_peer_that_is_gone_is_an_error_once_and_the_end_ever_after),
    promise!(the_counters_add_up_also_with_operations_under_way),
];

async fn a_client_gets_back_what_it_sent(kernel: Kernel) {
    let len = kernel.count(400_000, 9_000);
    let (listener, address) = listener().await;
    let server = coronet::spawn(async move {
        let (stream, _) = listener.accept().await.expect("a client");
        coronet::io::forward(&stream, &stream).await.expect("an echo");
    });
    let stream = TcpStream::connect(address).await.expect("it listens");
    let write = async {
        for start in (0..len).step_by(1_000) {
            stream.write_all(bytes_at(start, 1_000)).await.0.expect("the peer reads");
        }
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&stream, 0));
    assert_eq!(read, len);
    server.await.expect("no panic");
}

async fn each_direction_ends_on_its_own(_: Kernel) {
    let (one, other) = pair().await;
    one.shutdown(Shutdown::Write).expect("connected");
    assert!(other.recv().await.expect("no reset").is_empty());
    assert!(other.recv().await.expect("no reset").is_empty(), "the end ever after");
    other.write_all(bytes_at(0, 100)).await.0.expect("this direction is open");
    let (result, bytes) = one.read_exact(Vec::with_capacity(100)).await;
    result.expect("all of it");
    check(0, &bytes);
    let error = one.write_all("x").await.0.expect_err("this direction has ended");
    assert_eq!(error.kind(), ErrorKind::BrokenPipe);
}

async fn both_sides_agree_on_their_addresses(_: Kernel) {
    let (listener, address) = listener().await;
    let (client, accepted) = coronet::join!(TcpStream::connect(address), listener.accept());
    let (client, (server, peer)) = (client.expect("it listens"), accepted.expect("a client"));
    assert_eq!(client.peer_addr().expect("connected"), address);
    assert_eq!(client.local_addr().expect("connected"), peer);
    assert_eq!(server.peer_addr().expect("connected"), peer);
    assert_eq!(server.local_addr().expect("connected"), address);
}

async fn a_connect_that_is_refused_is_an_error_and_leaves_nothing(_: Kernel) {
    let (listener, address) = listener().await;
    drop(listener);
    for _ in 0..20 {
        let error = TcpStream::connect(address).await.expect_err("nobody listens");
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{error}");
    }
}

async fn timers_end_in_the_order_of_their_deadlines(_: Kernel) {
    let ended = Rc::new(RefCell::new(Vec::new()));
    let tasks: Vec<_> = [30, 10, 20, 0]
        .into_iter()
        .map(|ms| {
            let ended = ended.clone();
            coronet::spawn(async move {
                let start = Instant::now();
                sleep(Duration::from_millis(ms)).await;
                assert!(start.elapsed() >= Duration::from_millis(ms));
                ended.borrow_mut().push(ms);
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("no panic");
    }
    assert_eq!(*ended.borrow(), [0, 10, 20, 30]);
}

async fn a_timeout_gives_the_output_or_says_that_it_is_over(_: Kernel) {
    let (stream, peer) = pair().await;
    assert!(timeout(Duration::from_millis(2), stream.recv()).await.is_err(), "nothing was sent");
    peer.write_all("now").await.0.expect("connected");
    let (result, bytes) =
        timeout(Duration::from_secs(20), stream.read_exact([0; 3])).await.expect("it is there");
    result.expect("three bytes");
    assert_eq!(&bytes, b"now");
}

async fn a_peer_that_is_gone_is_an_error_once_and_the_end_ever_after(_: Kernel) {
    let (stream, peer) = pair().await;
    peer.set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(peer);
    assert_eq!(stream.recv().await.expect_err("a reset").kind(), ErrorKind::ConnectionReset);
    for _ in 0..3 {
        assert!(stream.recv().await.expect("told already").is_empty());
    }
}

async fn the_counters_add_up_also_with_operations_under_way(_: Kernel) {
    let start = metrics();
    let timer = |us| handle().submit(op::Timeout::new(Duration::from_micros(us)));
    let hour = || timer(3_600_000_000);
    let under_way: Vec<_> = (0..10).map(|_| hour()).collect();
    assert!(join_all((0..10).map(timer)).await.iter().all(Result::is_ok));
    drop((0..10).map(|_| hour()).collect::<Vec<_>>());
    // What is dropped is an orphan at once, and under way until the kernel gave it back.
    while metrics().in_flight > start.in_flight + 10 {
        sleep(Duration::from_micros(100)).await;
    }
    let now = metrics();
    let since =
        [now.submitted - start.submitted, now.completed - start.completed, now.orphaned - start.orphaned];
    assert_eq!(since, [30, 10, 10], "{now:?}");
    assert_eq!(now.submitted, now.completed + now.orphaned + now.in_flight + now.leaked, "{now:?}");
    assert_eq!((now.leaked, now.faulted), (0, 0), "{now:?}");
    drop(under_way);
}
