//! What lending an answer to the network costs on loopback, where the kernel copies it all the same: CPU time of the
//! server's thread per request, copied and lent in turn, in one process.
//!
//! A client asks with one byte and reads the answer. Coronet's server is on CPU 0, the client on CPU 1.

use std::error::Error;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::ExitCode;
use std::thread;

use clap::Parser;
use coronet::net::{TcpListener, TcpStream};
use coronet::{Backend, Runtime};
use coronet_benches::{affinity, process};
use rival_options::Outcome;

/// Lent against copied answers.
#[derive(Parser, Debug)]
struct Options {
    /// Bytes of an answer.
    #[arg(long, value_delimiter = ',', default_values_t = [16 * 1024, 256 * 1024])]
    bytes: Vec<usize>,
    /// Requests of one measurement.
    #[arg(long, default_value_t = 4_000)]
    requests: u32,
    /// Measurements of each kind.
    #[arg(long, default_value_t = 9)]
    rounds: usize,
}

/// How the server answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answers {
    Copied,
    /// The next request is taken before the buffer is back.
    Lent,
    /// The buffer is waited for, as one must not.
    LentAndAwaited,
}

const KINDS: [Answers; 3] = [Answers::Copied, Answers::Lent, Answers::LentAndAwaited];

fn main() -> ExitCode {
    rival_options::run(measure)
}

fn measure(options: Options) -> Outcome {
    affinity::pin(0)?;
    let runtime = Runtime::builder().backend(Backend::Uring).build()?;
    println!("{}", runtime.backend());
    for bytes in &options.bytes {
        let mut taken = KINDS.map(|_| Vec::new());
        for round in 0..options.rounds {
            // Mirrored, so that a drift of the machine meets all alike.
            for place in 0..KINDS.len() {
                let kind = if round % 2 == 0 { place } else { KINDS.len() - 1 - place };
                taken[kind].push(one(&runtime, KINDS[kind], *bytes, options.requests)?);
            }
        }
        let ratios = |kind: usize| {
            let mut ratios: Vec<_> =
                taken[kind].iter().zip(&taken[0]).map(|(this, copied)| this / copied).collect();
            ratios.sort_by(f64::total_cmp);
            (ratios[ratios.len() / 2], ratios[0], ratios[ratios.len() - 1])
        };
        for (kind, answers) in KINDS.iter().enumerate() {
            let mut us = taken[kind].clone();
            us.sort_by(f64::total_cmp);
            let (median, least, most) = ratios(kind);
            let cpu = us[us.len() / 2];
            println!(
                "{bytes:7} bytes {answers:?}: {cpu:.2} us per request, {median:.2} ({least:.2}-{most:.2})"
            );
        }
    }
    let metrics = runtime.metrics();
    let (sent, copied) = (metrics.zero_copy_sent, metrics.zero_copy_copied);
    println!("lent {sent}, of them copied by the kernel {copied}");
    Ok(())
}

/// CPU time of the server per request, in microseconds.
fn one(runtime: &Runtime, answers: Answers, bytes: usize, requests: u32) -> Result<f64, Box<dyn Error>> {
    runtime.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let client = thread::spawn(move || ask(address, bytes, requests));
        let (stream, _) = listener.accept().await?;
        stream.set_nodelay(true)?;
        let start = process::own_cpu_ns();
        serve(&stream, answers, bytes).await?;
        let taken = process::own_cpu_ns() - start;
        client.join().map_err(|_| "the client panicked")??;
        Ok(taken as f64 / 1e3 / f64::from(requests))
    })
}

async fn serve(stream: &TcpStream, answers: Answers, bytes: usize) -> std::io::Result<()> {
    let mut buffers = [Some(vec![7; bytes]), Some(vec![7; bytes])];
    let mut lent = None;
    let mut turn = 0;
    while !stream.recv().await?.is_empty() {
        let buf = buffers[turn].take().unwrap_or_default();
        buffers[turn] = match answers {
            Answers::Copied => {
                let (result, buf) = stream.write_all(buf).await;
                result?;
                Some(buf)
            }
            Answers::LentAndAwaited => {
                let (result, buf) = stream.send_zc(buf).await;
                result?;
                Some(buf)
            }
            Answers::Lent => {
                let mut send = stream.send_zc(buf);
                send.sent().await?;
                if let Some(before) = lent.replace(send) {
                    let (_, buf) = before.await;
                    buffers[1 - turn] = Some(buf);
                }
                None
            }
        };
        turn = 1 - turn;
    }
    Ok(())
}

fn ask(address: SocketAddr, bytes: usize, requests: u32) -> std::io::Result<()> {
    affinity::pin(1)?;
    let mut stream = std::net::TcpStream::connect(address)?;
    stream.set_nodelay(true)?;
    let mut answer = vec![0; bytes];
    for _ in 0..requests {
        stream.write_all(&[1])?;
        stream.read_exact(&mut answer)?;
    }
    Ok(())
}
