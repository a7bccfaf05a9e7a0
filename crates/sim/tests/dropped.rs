//! Nothing is lost when futures are dropped: the runtime above the ring, under the liberties of a kernel.

use std::time::Duration;

use coronet_exec::time::{sleep, timeout};
use coronet_io::net::{Shutdown, TcpListener, TcpStream};
use coronet_io::{context, op};

const SEEDS: u64 = 300;
const BYTES: usize = 20_000;

fn byte(at: usize) -> u8 {
    (at % 251) as u8
}

/// Sends all bytes, in pieces of odd sizes.
async fn send_all(stream: &TcpStream) {
    let all: Vec<u8> = (0..BYTES).map(byte).collect();
    for piece in all.chunks(777) {
        stream.write_all(piece.to_vec()).await.0.expect("the peer reads");
    }
    stream.shutdown(Shutdown::Write).expect("connected");
}

/// Reads to the end, and drops every other future after a moment.
async fn read_impatiently(stream: &TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut patience_us = 0;
    loop {
        patience_us = (patience_us * 7 + 3) % 400;
        let read = timeout(Duration::from_micros(patience_us), stream.read(Vec::with_capacity(300))).await;
        match read {
            Ok((result, piece)) => {
                if result.expect("no error") == 0 {
                    return bytes;
                }
                bytes.extend(piece);
            }
            Err(_elapsed) => {}
        }
    }
}

async fn impatient_reader() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let writer = coronet_exec::spawn(async move {
        let stream = TcpStream::connect(address).await.expect("it listens");
        send_all(&stream).await;
    });
    let (stream, _) = listener.accept().await.expect("a client");
    let bytes = read_impatiently(&stream).await;
    assert_eq!(bytes.len(), BYTES);
    assert!(bytes.iter().enumerate().all(|(at, value)| *value == byte(at)), "bytes in order");
    writer.await.expect("no panic");
}

#[test]
fn a_read_that_is_dropped_loses_no_byte() {
    coronet_sim::test("dropped::a_read_that_is_dropped_loses_no_byte", SEEDS, impatient_reader);
}

async fn impatient_acceptor() {
    const CLIENTS: usize = 12;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    for _ in 0..CLIENTS {
        coronet_exec::spawn(async move {
            let stream = TcpStream::connect(address).await.expect("it listens");
            assert!(stream.recv().await.expect("no reset").is_empty());
        });
    }
    let (mut accepted, mut patience_us) = (Vec::new(), 0);
    while accepted.len() < CLIENTS {
        patience_us = (patience_us * 5 + 1) % 90;
        if let Ok(result) = timeout(Duration::from_micros(patience_us), listener.accept()).await {
            accepted.push(result.expect("the listener lives").0);
        }
    }
    drop(accepted);
    sleep(Duration::from_secs(1)).await;
}

#[test]
fn an_accept_that_is_dropped_loses_no_connection() {
    coronet_sim::test("dropped::an_accept_that_is_dropped_loses_no_connection", SEEDS, impatient_acceptor);
}

async fn impatient_writer() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let writer = coronet_exec::spawn(async move {
        let stream = TcpStream::connect(address).await.expect("it listens");
        let all: Vec<u8> = (0..BYTES).map(byte).collect();
        let mut sent = Vec::new();
        for (index, piece) in all.chunks(777).enumerate() {
            // A write that is dropped goes on to its end, unless it was never polled.
            let write = stream.write_all(piece.to_vec());
            if index % 3 == 0 {
                let _ = timeout(Duration::from_micros(index as u64 % 5), write).await;
                stream.flush().await.expect("a dropped write is sent whole");
            } else {
                write.await.0.expect("the peer reads");
            }
            sent.extend_from_slice(piece);
        }
        assert_eq!(sent.len(), BYTES);
        stream.close().await.expect("all was sent");
    });
    let (stream, _) = listener.accept().await.expect("a client");
    let mut bytes = Vec::new();
    loop {
        let piece = stream.recv().await.expect("no reset");
        if piece.is_empty() {
            break;
        }
        bytes.extend_from_slice(&piece);
    }
    writer.await.expect("no panic");
    assert_eq!(bytes.len(), BYTES);
    assert!(bytes.iter().enumerate().all(|(at, value)| *value == byte(at)), "no piece is torn or doubled");
}

#[test]
fn a_write_that_is_dropped_is_sent_whole_and_in_order() {
    coronet_sim::test("dropped::a_write_that_is_dropped_is_sent_whole_and_in_order", SEEDS, impatient_writer);
}

/// The trap: the last completion of an accept that nobody waits for may carry a connection.
async fn listener_dropped_among_clients() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let clients: Vec<_> = (0..10)
        .map(|_| {
            coronet_exec::spawn(async move {
                if let Ok(stream) = TcpStream::connect(address).await {
                    // The end or a reset, but not silence.
                    let _ = timeout(Duration::from_secs(60), stream.recv()).await.expect("told of the end");
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

#[test]
fn a_listener_that_is_dropped_leaves_no_client_without_an_end() {
    let name = "dropped::a_listener_that_is_dropped_leaves_no_client_without_an_end";
    coronet_sim::test(name, SEEDS, listener_dropped_among_clients);
}

/// The trap: cancels that find the queue full.
async fn a_crowd_of_dropped_operations() {
    let context = context::current();
    let timers: Vec<_> =
        (0..100).map(|_| context.handle().submit(op::Timeout::new(Duration::from_secs(3600)))).collect();
    sleep(Duration::from_millis(1)).await;
    drop(timers);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(context.handle().stats().in_flight, 0);
}

#[test]
fn a_cancel_that_finds_the_queue_full_is_not_lost() {
    let name = "dropped::a_cancel_that_finds_the_queue_full_is_not_lost";
    coronet_sim::test(name, SEEDS, a_crowd_of_dropped_operations);
}
