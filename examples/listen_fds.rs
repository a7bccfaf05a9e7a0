//! An echo server that systemd starts: it takes the listening sockets that it was started with, says when it is
//! ready, and when it stops.
//!
//! With a socket unit, clients that come before the server, or while it restarts, wait in the kernel: none is refused.
//! The units that go with it are in `deploy/`, and `docs/DEPLOY.md` tells how to use them.
//!
//! Run it: `systemd-socket-activate -l 127.0.0.1:8888 target/release/examples/listen_fds`, or without systemd
//! `cargo run --release --example listen_fds -- --listen 127.0.0.1:8888`; then `printf hi | nc -N 127.0.0.1 8888`.
//! You should see one line with address, where it comes from, backend and cores, and nothing else until Ctrl-C or SIGTERM:
//! then it serves who waits, stops accepting, and gives open connections `--drain` seconds to end.

#[path = "shared/program.rs"]
mod program;

#[path = "shared/listeners.rs"]
mod listeners;

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
use futures_util::future::{Either, select, try_join_all};
use sd_notify::NotifyState;

/// Sends back whatever it receives, on the sockets that it was started with.
#[derive(Parser, Debug)]
#[command(name = "listen_fds", version)]
struct Options {
    /// The address to listen on if no socket was handed over (LISTEN_FDS).
    #[arg(long)]
    listen: Option<SocketAddr>,
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
    program::run("listen_fds", run)
}

fn run(options: &Options) -> io::Result<()> {
    let inherited: Vec<_> = listeners::inherited()?.into_iter().map(|(_name, listener)| listener).collect();
    let cores =
        options.cores.map_or_else(available_parallelism, |cores| Ok(NonZeroUsize::from(cores)))?.get();
    let (listening, origin) = match (inherited.is_empty(), options.listen) {
        (false, _) => (inherited, "handed over"),
        (true, Some(address)) => (ListenOptions::default().bind_group(address, cores)?, "its own"),
        (true, None) => {
            let text = "no socket was handed over (LISTEN_FDS), and --listen names no address";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
    };
    let address = listening[0].local_addr()?;
    let front = Runtime::builder().backend(options.backend).build()?;
    // Before anybody can know that we run.
    let signal = select(coronet::signal::ctrl_c(), coronet::signal::terminate());

    let builder = Runtime::builder().backend(options.backend).idle(options.idle);
    let shares = Arc::new(Mutex::new(listeners::shares(listening, cores)?));
    let running = Cores::count(cores).builder(builder).start(move |core| {
        let mut shares = shares.lock().unwrap_or_else(PoisonError::into_inner);
        // Taken, not cloned: as long as a clone is open, the kernel goes on listening.
        let listeners = std::mem::take(&mut shares[core.index()]);
        serve(core, listeners)
    })?;
    let plural = if cores == 1 { "" } else { "s" };
    let line = format!("listen_fds on {address}, {origin}, {}, {cores} core{plural}", front.backend());
    writeln!(io::stdout(), "{line}")?;
    // What `systemctl status` shows.
    notify(&[NotifyState::Ready, NotifyState::Status(&line)])?;

    front.block_on(signal).factor_first().0?;
    notify(&[NotifyState::Stopping, NotifyState::Status("draining")])?;
    running.shutdown(Duration::from_secs(options.drain));
    for result in running.join() {
        match result {
            Ok(served) => served?,
            Err(error) if error.is_cancelled() => {
                writeln!(io::stderr(), "listen_fds: connections were cut after {} s", options.drain)?;
            }
            Err(error) => return Err(io::Error::other(error.to_string())),
        }
    }
    Ok(())
}

/// Tells the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) -> io::Result<()> {
    sd_notify::notify(states)
        .map_err(|error| io::Error::new(error.kind(), format!("cannot notify the service manager: {error}")))
}

/// Serves one core's connections until it is asked to stop, and those it has to their end.
async fn serve(core: Core, listeners: Vec<std::net::TcpListener>) -> io::Result<()> {
    // Every connection holds a sender: when the last one is gone, so are the connections.
    let (alive, mut all_gone) = mpsc::unbounded::<()>();
    let listeners = listeners.into_iter().map(TcpListener::from);
    try_join_all(listeners.map(|listener| accept(&core, listener, &alive))).await?;
    drop(alive);
    all_gone.recv().await;
    Ok(())
}

async fn accept(core: &Core, listener: TcpListener, alive: &mpsc::UnboundedSender<()>) -> io::Result<()> {
    let start = |stream: TcpStream| {
        let alive = alive.clone();
        drop(coronet::spawn(async move {
            let _alive = alive;
            // An error ends one connection, and is no news.
            let _ = coronet::io::forward(&stream, &stream).await;
        }));
    };
    while let Either::Left((accepted, _)) =
        select(pin!(listener.accept()), pin!(core.shutdown_requested())).await
    {
        start(accepted?.0);
    }
    // Clients that were accepted just now are clients, too.
    listener.close().await.into_iter().for_each(start);
    Ok(())
}
