//! An unchanged echo server and its clients, in the simulation.

use coronet_io::net::{Shutdown, TcpListener, TcpStream};
use coronet_sim::{Sim, run};

async fn serve(listener: TcpListener) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { return };
        coronet_exec::spawn(async move {
            loop {
                match stream.recv().await {
                    Ok(bytes) if !bytes.is_empty() => {
                        if stream.write_all(bytes).await.0.is_err() {
                            return;
                        }
                    }
                    _ => return,
                }
            }
        });
    }
}

async fn talk(address: &str, bytes: usize, salt: u8) {
    let stream = TcpStream::connect(address).await.expect("a server");
    let sent: Vec<u8> = (0..bytes).map(|at| (at as u8).wrapping_mul(7).wrapping_add(salt)).collect();
    for piece in sent.chunks(900) {
        stream.write_all(piece.to_vec()).await.0.expect("sent");
        let (result, back) = stream.read_exact(Vec::with_capacity(piece.len())).await;
        result.expect("echoed");
        assert!(back == piece, "other bytes came back");
    }
    stream.shutdown(Shutdown::Write).expect("connected");
    assert!(stream.recv().await.expect("no error").is_empty());
}

async fn echo_on_one_host() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound").to_string();
    let server = coronet_exec::spawn(serve(listener));
    let clients: Vec<_> = (0..4_u8)
        .map(|salt| {
            let address = address.clone();
            coronet_exec::spawn(async move { talk(&address, 5000, salt).await })
        })
        .collect();
    for client in clients {
        client.await.expect("no panic");
    }
    server.abort();
}

#[test]
fn an_unchanged_echo_server_and_its_clients_run_under_every_seed() {
    coronet_sim::test(
        "echo::an_unchanged_echo_server_and_its_clients_run_under_every_seed",
        200,
        echo_on_one_host,
    );
}

#[test]
fn the_same_seed_is_the_same_run_and_another_seed_is_another() {
    let hash = |seed| run(seed, echo_on_one_host).1;
    assert_eq!(hash(3), hash(3));
    assert_ne!(hash(3).trace_hash, hash(4).trace_hash);
}

#[test]
fn the_tape_that_a_run_drew_is_that_run() {
    let (_, first) = run(11, echo_on_one_host);
    let again = Sim::builder(0).tape(coronet_sim::Tape::from_entries(first.tape.clone())).build();
    again.block_on(echo_on_one_host());
    assert_eq!(again.report(), first);
}

#[test]
fn a_run_leaves_no_operation_and_no_descriptor() {
    for seed in 0..50 {
        let ((), report) = run(seed, echo_on_one_host);
        assert_eq!((report.leaked, report.descriptors), (0, 0), "seed {seed}");
    }
}
