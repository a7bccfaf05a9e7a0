//! A core of Coronet inside of a tokio server, on one thread: tokio accepts, and hands the sockets to the ring,
//! which echoes.
//!
//! `drive` is all that it takes: tokio waits for one descriptor and one timer, and turns the core when there is
//! something to do.
//!
//! Run it: `cargo run --release --example embed_tokio`, then `printf hi | nc -N 127.0.0.1 8888`, which the ring
//! answers, and `nc 127.0.0.1 8889`, which tokio answers: how many connections it has handed over.
//! You should see one line with both addresses and the backend, and nothing else until Ctrl-C or SIGTERM: then it
//! stops accepting, and gives open connections `--drain` seconds to end.

#[path = "shared/program.rs"]
mod program;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::Duration;

use clap::Parser;
use coronet::{Backend, Embedded, Runtime, Turn};
use tokio::io::unix::AsyncFd;
use tokio::io::{AsyncWriteExt, Interest};
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio::task::{LocalSet, spawn_local, yield_now};
use tokio::time::{sleep, sleep_until, timeout};

/// Accepts with tokio, echoes with Coronet, on one thread.
#[derive(Parser, Debug)]
#[command(name = "embed_tokio", version)]
struct Options {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// Where tokio tells how many connections were handed over.
    #[arg(long, default_value = "127.0.0.1:8889")]
    status: SocketAddr,
    /// The backend: auto, uring or epoll.
    #[arg(long, default_value = "auto")]
    backend: Backend,
    /// Seconds that open connections get to end after Ctrl-C or SIGTERM.
    #[arg(long, default_value_t = 10)]
    drain: u64,
}

/// Out of descriptors, accepting is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    program::run("embed_tokio", |options: &Options| {
        let tokio = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        LocalSet::new().block_on(&tokio, serve(options))
    })
}

/// Turns the core whenever there is something to do, for ever, and sleeps otherwise.
///
/// # Cancellation
/// Safe: nothing is lost between two turns.
async fn drive(core: Rc<AsyncFd<Embedded>>) -> io::Error {
    loop {
        let until = match core.get_ref().turn() {
            // tokio's tasks get their turn, too.
            Turn::Ready => {
                yield_now().await;
                continue;
            }
            Turn::Idle { until } => until,
        };
        let timer = async {
            match until {
                Some(until) => sleep_until(until.into()).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            readable = core.readable() => match readable {
                // Cleared before the turn: what comes from here on is an edge of its own.
                Ok(mut readable) => readable.clear_ready(),
                Err(error) => return error,
            },
            () = timer => {}
        }
    }
}

async fn serve(options: &Options) -> io::Result<()> {
    let core = Embedded::new(Runtime::builder().backend(options.backend))?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe for types that may change their descriptor; the core's stays the same and open"
    )]
    let core = Rc::new(AsyncFd::with_interest(core, Interest::READABLE)?);
    let listener = bind(options.listen).await?;
    let status = bind(options.status).await?;
    // Before anybody can know that we run.
    let (mut terminate, mut interrupt) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let mut driving = spawn_local(drive(core.clone()));
    writeln!(
        io::stdout(),
        "embed_tokio on {}, status on {}, {}, in one thread of tokio",
        listener.local_addr()?,
        status.local_addr()?,
        core.get_ref().backend(),
    )?;

    // Every connection holds a sender: when the last one is gone, so are the connections.
    let (alive, mut all_gone) = mpsc::channel::<()>(1);
    let mut handed_over = 0_u64;
    loop {
        tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    echo(core.get_ref(), stream, alive.clone())?;
                    handed_over += 1;
                }
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            asked = status.accept() => match asked {
                Ok((stream, _)) => drop(spawn_local(tell(stream, handed_over))),
                Err(_) => sleep(ACCEPT_PAUSE).await,
            },
            failed = &mut driving => return Err(failed.map_err(io::Error::other)?),
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
        }
    }
    drop((listener, status, alive));
    if timeout(Duration::from_secs(options.drain), all_gone.recv()).await.is_err() {
        writeln!(io::stderr(), "embed_tokio: connections were cut after {} s", options.drain)?;
    }
    driving.abort();
    Ok(())
}

/// Hands a connection of tokio's over to the ring.
fn echo(core: &Embedded, stream: TcpStream, alive: mpsc::Sender<()>) -> io::Result<()> {
    let stream = stream.into_std()?;
    drop(core.spawn(async move {
        let _alive = alive;
        let stream = coronet::net::TcpStream::from(stream);
        // An error ends one connection, and is no news.
        let _ = coronet::io::forward(&stream, &stream).await;
    }));
    Ok(())
}

/// Answers on tokio.
async fn tell(mut stream: TcpStream, handed_over: u64) {
    let _ = stream.write_all(format!("{handed_over} connections handed over\n").as_bytes()).await;
}

async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .map_err(|error| io::Error::new(error.kind(), format!("cannot listen on {address}: {error}")))
}
