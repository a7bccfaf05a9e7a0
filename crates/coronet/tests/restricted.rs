//! A ring that is restricted to what Coronet uses serves as any other does.

mod support;

use std::time::Duration;

use coronet::net::{TcpListener, TcpStream};
use coronet::{Backend, Cores, Runtime};
use support::runtime_or_skip;

const HERE: &str = "127.0.0.1:0";
/// More than it takes to count as busy, after which a socket is sent on by its place in the ring's table.
const MESSAGES: usize = 200;

async fn serve_and_ask() {
    let listener = TcpListener::bind(HERE).await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = coronet::spawn(async move {
        let (stream, _) = listener.accept().await.unwrap();
        coronet::io::forward(&stream, &stream).await.unwrap();
    });
    let client = TcpStream::connect(address).await.unwrap();
    for size in (0..MESSAGES).map(|number| 1 + number * 97) {
        let (sent, message) = client.write_all(vec![7_u8; size]).await;
        sent.unwrap();
        let mut answered = 0;
        while answered < message.len() {
            let bytes = client.recv().await.unwrap();
            assert!(!bytes.is_empty() && bytes.iter().all(|byte| *byte == 7));
            answered += bytes.len();
        }
    }
    drop(client);
    server.await.unwrap();
    // A cancelled operation, and a timer.
    let silent = TcpListener::bind(HERE).await.unwrap();
    assert!(coronet::time::timeout(Duration::from_millis(1), silent.accept()).await.is_err());
}

#[test]
fn a_restricted_runtime_accepts_connects_sends_receives_cancels_and_ends() {
    let builder = Runtime::builder().backend(Backend::Uring).restrict(true);
    let Some(runtime) = runtime_or_skip(builder) else { return };
    assert!(runtime.backend().why.contains("restricted"), "{}", runtime.backend());
    runtime.block_on(serve_and_ask());
}

/// The trap: a ring is enabled by the thread that is to use it, and no other.
#[test]
fn restricted_cores_wake_each_other() {
    let builder = Runtime::builder().backend(Backend::Uring).restrict(true);
    if runtime_or_skip(builder.clone()).is_none() {
        return;
    }
    let running = Cores::count(2).pinned(false).builder(builder).start(|core| async move {
        serve_and_ask().await;
        core.index()
    });
    let results: Vec<_> = running.expect("started").join().into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [0, 1]);
}
