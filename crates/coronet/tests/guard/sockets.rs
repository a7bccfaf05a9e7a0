//! Sockets as programs use them, each wait raced against a short timer.

use std::io::{Read, Write};
use std::net::TcpStream as StdStream;

use coronet::net::{Shutdown, TcpListener, TcpStream};
use coronet::time::timeout;
use socket2::SockRef;

use crate::support::{Pattern, Sequence, beside, pair};
use crate::worlds::on_each_backend;

/// Bytes that go one way in a test.
const TOTAL: u64 = 1 << 20;

#[test]
fn accepts_that_are_raced_lose_no_client() {
    const CLIENTS: usize = 200;
    on_each_backend(|| async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = coronet::spawn(beside(move || {
            for _ in 0..CLIENTS {
                let mut answer = Vec::new();
                StdStream::connect(address).unwrap().read_to_end(&mut answer).unwrap();
                assert_eq!(answer, b"served");
            }
        }));
        let (mut served, mut sequence) = (0, Sequence::new(30));
        while served < CLIENTS {
            if let Ok(accepted) = timeout(sequence.limit(), listener.accept()).await {
                accepted.unwrap().0.write_all("served".to_owned()).await.0.unwrap();
                served += 1;
            }
        }
        clients.await.unwrap();
    });
}

/// One read of some kind, or `None` if the timer was first.
async fn read(stream: &TcpStream, sequence: &mut Sequence) -> Option<Vec<u8>> {
    let (kind, limit) = (sequence.below(3), sequence.limit());
    let room = Vec::with_capacity(1 + sequence.below(5_000) as usize);
    match kind {
        0 => timeout(limit, stream.recv()).await.ok().map(|bytes| bytes.unwrap().to_vec()),
        1 => timeout(limit, stream.read(room)).await.ok().map(|(result, bytes)| {
            assert_eq!(result.unwrap(), bytes.len());
            bytes
        }),
        _ => timeout(limit, stream.read_exact(room)).await.ok().map(|(_, bytes)| bytes),
    }
}

#[test]
fn reads_that_are_raced_lose_no_byte() {
    on_each_backend(|| async {
        let (stream, mut peer) = pair();
        let writer = coronet::spawn(beside(move || {
            let (pattern, mut sequence) = (Pattern::new(), Sequence::new(31));
            let mut position = 0;
            while position < TOTAL {
                let len = (1 + sequence.below(4_000)).min(TOTAL - position);
                peer.write_all(pattern.at(position, len as usize)).unwrap();
                position += len;
                sequence.spin(60);
            }
        }));
        let (pattern, mut sequence) = (Pattern::new(), Sequence::new(32));
        let (mut position, mut late) = (0, 0);
        loop {
            let Some(bytes) = read(&stream, &mut sequence).await else {
                late += 1;
                continue;
            };
            if bytes.is_empty() {
                break;
            }
            pattern.check(position, &bytes);
            position += bytes.len() as u64;
        }
        assert_eq!(position, TOTAL);
        assert!(late > 0, "no read was dropped");
        writer.await.unwrap();
    });
}

#[test]
fn writes_that_are_raced_arrive_whole() {
    on_each_backend(|| async {
        let (stream, mut peer) = pair();
        // Small, so that writes have to wait for the peer.
        SockRef::from(&stream).set_send_buffer_size(16 * 1024).unwrap();
        let reader = coronet::spawn(beside(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).map(|_| bytes)
        }));
        let (pattern, mut sequence) = (Pattern::new(), Sequence::new(33));
        let (mut position, mut late) = (0, 0);
        while position < TOTAL {
            let len = (1 + sequence.below(60_000)).min(TOTAL - position);
            let bytes = pattern.at(position, len as usize).to_vec();
            let limit = sequence.limit();
            let in_time = if sequence.below(2) == 0 {
                timeout(limit, stream.write_all(bytes)).await.map(|(result, _)| result.unwrap()).is_ok()
            } else {
                let halves = vec![bytes[..bytes.len() / 2].to_vec(), bytes[bytes.len() / 2..].to_vec()];
                let written = timeout(limit, stream.write_vectored(halves)).await;
                written.map(|(result, _)| assert_eq!(result.unwrap() as u64, len)).is_ok()
            };
            late += usize::from(!in_time);
            // Nothing was under way, so the first poll sent it; whoever waits no more leaves it to the kernel.
            stream.flush().await.unwrap();
            position += len;
        }
        stream.shutdown(Shutdown::Write).unwrap();
        let arrived = reader.await.unwrap().unwrap();
        assert_eq!(arrived.len() as u64, TOTAL);
        pattern.check(0, &arrived);
        assert!(late > 0, "no write was dropped");
    });
}

#[test]
fn connects_that_are_raced_leave_nothing_behind() {
    on_each_backend(|| async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut sequence = Sequence::new(34);
        // The backlog takes them all.
        for _ in 0..100 {
            let connected = timeout(sequence.limit(), TcpStream::connect(address)).await;
            assert!(connected.is_err() || connected.is_ok_and(|stream| stream.is_ok()));
        }
        drop(listener);
    });
}
