//! An unchanged relay in the simulation, which has no pipes: everything goes in leases.

use coronet_exec::spawn;
use coronet_io::net::{Shutdown, TcpListener, TcpStream, relay};

const BYTES: usize = 60_000;

fn pattern(salt: u8) -> Vec<u8> {
    (0..BYTES).map(|at| (at % 251) as u8 ^ salt).collect()
}

/// Sends all of its pattern in pieces, messages and bulk, while it receives all of the other's.
async fn talk(stream: TcpStream, own: u8, other: u8) {
    let (mut reader, writer) = stream.into_split();
    let sending = spawn(async move {
        let bytes = pattern(own);
        let (mut rest, mut len) = (&*bytes, 1);
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(len.min(rest.len()));
            writer.stream().write_all(piece.to_vec()).await.0.expect("taken");
            rest = behind;
            len = len * 3 % 20_011;
        }
        writer.stream().shutdown(Shutdown::Write).expect("connected");
        writer
    });
    let mut got = Vec::new();
    loop {
        let bytes = coronet_io::io::AsyncRecv::recv(&mut reader).await.expect("no error");
        if bytes.is_empty() {
            break;
        }
        got.extend_from_slice(&bytes);
    }
    assert!(got == pattern(other), "{} of {BYTES} bytes, or others", got.len());
    sending.await.expect("no panic");
}

async fn relayed() {
    let [front, back] = [TcpListener::bind("127.0.0.1:0").await, TcpListener::bind("127.0.0.1:0").await];
    let (front, back) = (front.expect("a port"), back.expect("a port"));
    let address = |listener: &TcpListener| listener.local_addr().expect("bound").to_string();
    let (front_address, back_address) = (address(&front), address(&back));
    let client = spawn(async move {
        let stream = TcpStream::connect(&*front_address).await.expect("a proxy");
        talk(stream, 0, 7).await;
    });
    let server = spawn(async move {
        let (stream, _) = back.accept().await.expect("a connection");
        talk(stream, 7, 0).await;
    });
    let (a, _) = front.accept().await.expect("a client");
    let b = TcpStream::connect(&*back_address).await.expect("a server");
    let counts = relay(&a, &b).await.expect("both end well");
    assert_eq!(counts, (BYTES as u64, BYTES as u64));
    client.await.expect("no panic");
    server.await.expect("no panic");
}

#[test]
fn a_relay_carries_every_byte_both_ways_under_every_seed() {
    coronet_sim::test("relay::a_relay_carries_every_byte_both_ways_under_every_seed", 60, relayed);
}
