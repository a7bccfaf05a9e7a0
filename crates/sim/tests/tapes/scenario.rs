//! An echo over short counts, dropped waits and a shut-down, with all choices from one string of bytes.
//! It panics if a byte is lost, doubled or changed, if nothing moves any more, or if something is left.

use std::time::Duration;

use coronet_exec::time::timeout;
use coronet_io::net::{Shutdown, TcpListener, TcpStream};
use coronet_sim::{Sim, Tape};

/// More than the smallest buffers of two sockets hold, so that sends have to wait.
const BYTES: usize = 12_000;
const CLIENTS: u8 = 2;

/// Runs the echo under the choices that `bytes` names, two bytes each.
pub(crate) fn run(bytes: &[u8]) {
    let entries = bytes.chunks(2).map(|pair| {
        let low = pair.first().copied().unwrap_or(0);
        u32::from(low) | u32::from(pair.get(1).copied().unwrap_or(0)) << 8
    });
    let sim = Sim::builder(0).tape(Tape::from_entries(entries.collect())).build();
    sim.block_on(echo());
    let report = sim.report();
    assert_eq!((report.leaked, report.descriptors), (0, 0), "operations and descriptors that are left");
}

async fn echo() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = coronet_exec::spawn(serve(listener));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|salt| {
            let address = address.clone();
            coronet_exec::spawn(async move { talk(&address, salt).await })
        })
        .collect();
    for client in clients {
        client.await.expect("no panic");
    }
    server.abort();
}

async fn serve(listener: TcpListener) {
    let mut connections = Vec::new();
    for _ in 0..CLIENTS {
        // A wait for a client is dropped again and again, and loses none.
        let (stream, _) = loop {
            if let Ok(accepted) = timeout(Duration::from_micros(300), listener.accept()).await {
                break accepted.expect("a client");
            }
        };
        connections.push(coronet_exec::spawn(answer(stream)));
    }
    for connection in connections {
        connection.await.expect("no panic");
    }
}

/// Sends back what comes, and waits for each piece for a moment only.
async fn answer(stream: TcpStream) {
    loop {
        let Ok(received) = timeout(Duration::from_micros(200), stream.recv()).await else { continue };
        let bytes = received.expect("a stream without errors");
        if bytes.is_empty() {
            return;
        }
        write(&stream, bytes.to_vec()).await;
    }
}

/// Whether or not its future is dropped, a write that was started arrives whole.
async fn write(stream: &TcpStream, bytes: Vec<u8>) {
    let len = bytes.len();
    match timeout(Duration::from_micros(150), stream.write(bytes)).await {
        Ok((result, _)) => assert_eq!(result.expect("sent"), len),
        Err(_) => stream.flush().await.expect("flushed"),
    }
}

async fn talk(address: &str, salt: u8) {
    let stream = TcpStream::connect(address).await.expect("a server");
    let sent: Vec<u8> = (0..BYTES).map(|at| ((at * 7) ^ (at >> 8)) as u8 ^ salt).collect();
    let (mut back, mut position) = (Vec::new(), 0);
    // Sizes that differ from those of the buffers below.
    for piece in sent.chunks(1_777) {
        write(&stream, piece.to_vec()).await;
        position += piece.len();
        while back.len() < position {
            let read = stream.read(Vec::with_capacity(1_000));
            let Ok((result, bytes)) = timeout(Duration::from_micros(250), read).await else { continue };
            assert_ne!(result.expect("a stream without errors"), 0, "it ended after {} bytes", back.len());
            back.extend_from_slice(&bytes);
        }
    }
    assert!(back == sent, "other bytes came back");
    stream.shutdown(Shutdown::Write).expect("connected");
    assert!(stream.recv().await.expect("no error").is_empty());
}
