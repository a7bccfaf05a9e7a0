//! An echo server on every core: each core has its own ring, listener and tasks.
//!
//! Run it: `cargo run --release --example echo`, then `printf hi | nc -N 127.0.0.1 8888`.
//! You should see one line with address, backend and cores, and nothing else until Ctrl-C or
//! SIGTERM: then it stops accepting, and gives open connections `--drain` seconds to end.

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
use coronet::sync::mpsc;
use coronet::{Backend, Core, Cores, Idle, Runtime};
use futures_util::future::{Either, select};

/// Sends back whatever it receives.
#[derive(Parser, Debug)]
#[command(name = "echo", version)]
struct Options {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// How many cores; all that the process may use by default.
    #[arg(long)]
    cores: Option<NonZeroU16>,
    /// The backend: auto, uring or epoll.
    #[arg(long, default_value = "auto")]
    backend: Backend,
    /// What an idle core does: sleep, adaptive, or spin:MICROSECONDS.
    #[arg(long, default_value = "sleep")]
    idle: Idle,
    /// Seconds that open connections get to end after Ctrl-C or SIGTERM.
    #[arg(long, default_value_t = 10)]
    drain: u64,
}

fn main() -> ExitCode {
    program::run("echo", run)
}

fn run(options: &Options) -> io::Result<()> {
    let front = Runtime::builder().backend(options.backend).build()?;
    let builder = Runtime::builder().backend(options.backend).idle(options.idle);
    let cores = options.cores.map_or_else(available_parallelism, |cores| Ok(NonZeroUsize::from(cores)))?;
    let sockets = ListenOptions::default().bind_group(options.listen, cores.get())?;
    let address = sockets[0].local_addr()?;
    let sockets = Arc::new(Mutex::new(sockets));
    // Before anybody can know that we run: a signal that comes early would kill us, and clients that come
    // early may take the descriptors that watching signals needs.
    let signal = select(coronet::signal::ctrl_c(), coronet::signal::terminate());

    let running = Cores::count(cores.get()).builder(builder).start(move |core| {
        // Taken, not cloned: as long as a clone is open, the kernel goes on listening.
        let socket = sockets.lock().unwrap_or_else(PoisonError::into_inner).pop();
        async move { serve(core, TcpListener::from(socket.expect("one for each core"))).await }
    })?;
    let cores = if cores.get() == 1 { "1 core".to_owned() } else { format!("{cores} cores") };
    writeln!(io::stdout(), "echo on {address}, {}, {cores}", front.backend())?;

    front.block_on(signal).factor_first().0?;
    running.shutdown(Duration::from_secs(options.drain));
    for result in running.join() {
        match result {
            Ok(served) => served?,
            Err(error) if error.is_cancelled() => {
                writeln!(io::stderr(), "echo: connections were cut after {} s", options.drain)?;
            }
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
    }
    Ok(())
}

/// Serves one core's connections until it is asked to stop, and those it has to their end.
async fn serve(core: Core, listener: TcpListener) -> io::Result<()> {
    // Every connection holds a sender: when the last one is gone, so are the connections.
    let (alive, mut all_gone) = mpsc::unbounded::<()>();
    let start = |stream: TcpStream| {
        coronet::spawn(echo(stream, alive.clone()));
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

#[expect(
    clippy::manual_async_fn,
    reason = "an `async fn` keeps the stream twice: as argument and as variable"
)]
fn echo(stream: TcpStream, alive: mpsc::UnboundedSender<()>) -> impl Future<Output = ()> {
    async move {
        let _alive = &alive;
        // An error ends one connection, and is no news: clients reset connections all the time.
        let _ = stream.set_nodelay(true);
        loop {
            let Ok(bytes) = stream.recv().await else { break };
            if bytes.is_empty() || stream.write_all(bytes).await.0.is_err() {
                break;
            }
        }
    }
}
