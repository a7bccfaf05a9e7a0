//! Cores of Coronet and a tokio runtime in one process: the cores have the sockets, tokio does the work behind them,
//! and both talk through channels.
//!
//! The channels are those of `coronet::sync::cross`. They know no runtime: a waker is all that they need, so either
//! end may be awaited on either side.
//!
//! Run it: `cargo run --release --example beside_tokio`, then `printf hello | nc -N 127.0.0.1 8888`.
//! You should see one line with address, backend and cores; what you sent comes back in capitals, after `--delay`
//! milliseconds on tokio. Ctrl-C or SIGTERM stop accepting, and give open connections `--drain` seconds to end.

#[path = "shared/program.rs"]
mod program;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::num::{NonZeroU16, NonZeroUsize};
use std::pin::pin;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::available_parallelism;
use std::time::Duration;

use clap::Parser;
use coronet::net::{ListenOptions, TcpListener, TcpStream};
use coronet::sync::cross::{mpsc, oneshot};
use coronet::{Backend, Core, Cores, Runtime};
use futures_util::future::{Either, select};

/// Takes connections with Coronet, and has tokio answer them.
#[derive(Parser, Debug)]
#[command(name = "beside_tokio", version)]
struct Options {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// How many cores of Coronet; all that the process may use by default.
    #[arg(long)]
    cores: Option<NonZeroU16>,
    /// The backend: auto, uring or epoll.
    #[arg(long, default_value = "auto")]
    backend: Backend,
    /// Milliseconds that tokio works on each answer.
    #[arg(long, default_value_t = 10)]
    delay: u64,
    /// Seconds that open connections get to end after Ctrl-C or SIGTERM.
    #[arg(long, default_value_t = 10)]
    drain: u64,
}

/// Questions that wait for tokio; beyond them the cores wait, and so do their clients.
const QUESTIONS_MAX: usize = 1024;

/// What a core asks tokio.
struct Question {
    bytes: Vec<u8>,
    answer: oneshot::Sender<Vec<u8>>,
}

fn main() -> ExitCode {
    program::run("beside_tokio", run)
}

fn run(options: &Options) -> io::Result<()> {
    let front = Runtime::builder().backend(options.backend).build()?;
    let cores =
        options.cores.map_or_else(available_parallelism, |cores| Ok(NonZeroUsize::from(cores)))?.get();
    let sockets = ListenOptions::default().bind_group(options.listen, cores)?;
    let address = sockets[0].local_addr()?;
    let sockets = Arc::new(Mutex::new(sockets));
    // Before anybody can know that we run.
    let signal = select(coronet::signal::ctrl_c(), coronet::signal::terminate());

    let tokio = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_time().build()?;
    let (questions, asked) = mpsc::channel(QUESTIONS_MAX);
    let working = tokio.spawn(work(asked, Duration::from_millis(options.delay)));

    let builder = Runtime::builder().backend(options.backend);
    let running = Cores::count(cores).builder(builder).start(move |core| {
        // Taken, not cloned: as long as a clone is open, the kernel goes on listening.
        let socket = sockets.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let questions = questions.clone();
        async move { serve(core, TcpListener::from(socket.expect("one for each core")), questions).await }
    })?;
    let plural = if cores == 1 { "" } else { "s" };
    writeln!(
        io::stdout(),
        "beside_tokio on {address}, {}, {cores} core{plural} beside tokio",
        front.backend()
    )?;

    front.block_on(signal).factor_first().0?;
    running.shutdown(Duration::from_secs(options.drain));
    for result in running.join() {
        match result {
            Ok(served) => served?,
            Err(error) if error.is_cancelled() => {
                writeln!(io::stderr(), "beside_tokio: connections were cut after {} s", options.drain)?;
            }
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
    }
    // With the cores went the last senders, so this ends; a future of tokio, awaited on Coronet.
    front.block_on(working).map_err(io::Error::other)
}

/// Works on tokio: a future of Coronet's channel, awaited there.
async fn work(mut asked: mpsc::Receiver<Question>, delay: Duration) {
    while let Some(Question { mut bytes, answer }) = asked.recv().await {
        tokio::spawn(async move {
            tokio::time::sleep(delay).await;
            bytes.make_ascii_uppercase();
            // Whoever asked may be gone.
            let _ = answer.send(bytes);
        });
    }
}

/// Serves one core's connections until it is asked to stop, and those it has to their end.
async fn serve(core: Core, listener: TcpListener, questions: mpsc::Sender<Question>) -> io::Result<()> {
    // Every connection holds a sender: when the last one is gone, so are the connections.
    let (alive, mut all_gone) = coronet::sync::mpsc::unbounded::<()>();
    let start = |stream: TcpStream| {
        let (questions, alive) = (questions.clone(), alive.clone());
        drop(coronet::spawn(async move {
            let _alive = alive;
            // An error ends one connection, and is no news.
            let _ = converse(stream, questions).await;
        }));
    };
    while let Either::Left((accepted, _)) =
        select(pin!(listener.accept()), pin!(core.shutdown_requested())).await
    {
        start(accepted?.0);
    }
    // Clients that were accepted just now are clients, too.
    listener.close().await.into_iter().for_each(start);
    drop(alive);
    all_gone.recv().await;
    Ok(())
}

/// Asks tokio about all that comes in, and sends the answers.
async fn converse(stream: TcpStream, questions: mpsc::Sender<Question>) -> io::Result<()> {
    loop {
        // A lease belongs to its core, so what goes to another thread is a copy.
        let bytes = stream.recv().await?.to_vec();
        if bytes.is_empty() {
            return Ok(());
        }
        let (answer, answered) = oneshot::channel();
        // A question that nobody takes is dropped, and so is one whose work panics: then nobody answers.
        let _ = questions.send(Question { bytes, answer }).await;
        let Ok(bytes) = answered.await else { return Err(io::Error::other("nobody answers")) };
        stream.write_all(bytes).await.0?;
    }
}
