//! A server that finds its own bug: an echo server of thirty lines, and a simulated test that runs
//! it unchanged under a hundred seeds.
//!
//! Run: `cargo run --example simulate`. It simulates both servers below: you see by which seed the
//! careless one is caught, and that the careful one passes. `docs/TESTING.md` walks through it.

mod server;

use coronet::net::{TcpListener, TcpStream};
use coronet::sim;
use server::Echo;

/// Seeds that are tried.
const SEEDS: u64 = 100;
/// More than the smallest buffer of a socket, so that a send may be taken in parts.
const MESSAGE_BYTES: usize = 4000;

fn main() {
    for (name, echo) in [("careless", Echo::Careless), ("careful", Echo::Careful)] {
        match (0..SEEDS).find(|seed| !is_echoed(*seed, echo)) {
            Some(seed) => println!("the {name} server fails under seed {seed}"),
            None => println!("the {name} server passes {SEEDS} seeds"),
        }
    }
}

/// Whether a client gets back what it sent, in the run of this seed.
fn is_echoed(seed: u64, echo: Echo) -> bool {
    sim::run(seed, move || client(echo)).0
}

async fn client(echo: Echo) -> bool {
    sim::host("server", move || async move {
        let listener = TcpListener::bind("0.0.0.0:7").await.expect("a free port");
        // It ends with the simulation.
        let _ = server::serve(listener, echo).await;
    });
    let sent: Vec<u8> = (0..MESSAGE_BYTES).map(|at| at as u8).collect();
    let exchange = async {
        // The server may not listen yet.
        let stream = loop {
            if let Ok(stream) = TcpStream::connect("server:7").await {
                break stream;
            }
        };
        stream.write_all(sent.clone()).await.0.ok()?;
        let (result, back) = stream.read_exact(Vec::with_capacity(MESSAGE_BYTES)).await;
        result.ok().map(|()| back)
    };
    // Bytes that the server lost never come: a minute of simulated time costs nothing.
    let back = coronet::time::timeout(std::time::Duration::from_secs(60), exchange).await;
    back.ok().flatten() == Some(sent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_careless_server_is_caught_in_fewer_than_a_hundred_seeds() {
        assert!((0..SEEDS).any(|seed| !is_echoed(seed, Echo::Careless)));
    }

    #[coronet::test(sim, seeds = 100)]
    async fn the_careful_server_passes() {
        assert!(client(Echo::Careful).await);
    }
}
