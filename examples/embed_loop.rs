//! A core of Coronet inside of a hand-written loop around `poll(2)`: the loop waits for its own descriptors and for
//! that of the core, and turns the core when there is something to do.
//!
//! Run it: `cargo run --release --example embed_loop`, then `printf hi | nc -N 127.0.0.1 8888`.
//! You should see one line with address and backend, and nothing else until Ctrl-C or SIGTERM: then it stops accepting,
//! and gives open connections `--drain` seconds to end. A connection that says nothing for `--idle-timeout` seconds is
//! closed: a timer of the core, for which the loop wakes up.

#[path = "shared/program.rs"]
mod program;

use std::io::{self, ErrorKind, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::rc::Rc;
use std::time::{Duration, Instant};

use clap::Parser;
use coronet::{Backend, Embedded, Runtime};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Signal;

/// Accepts in a loop of its own, echoes with Coronet, on one thread.
#[derive(Parser, Debug)]
#[command(name = "embed_loop", version)]
struct Options {
    /// The address to listen on.
    #[arg(long, default_value = "127.0.0.1:8888")]
    listen: SocketAddr,
    /// The backend: auto, uring or epoll.
    #[arg(long, default_value = "auto")]
    backend: Backend,
    /// Seconds after which a connection that says nothing is closed.
    #[arg(long, default_value_t = 60)]
    idle_timeout: u64,
    /// Seconds that open connections get to end after Ctrl-C or SIGTERM.
    #[arg(long, default_value_t = 10)]
    drain: u64,
}

/// Out of descriptors, accepting is tried again after this.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn main() -> ExitCode {
    program::run("embed_loop", run)
}

fn run(options: &Options) -> io::Result<()> {
    let core = Embedded::new(Runtime::builder().backend(options.backend))?;
    let listener = TcpListener::bind(options.listen).map_err(|error| {
        io::Error::new(error.kind(), format!("cannot listen on {}: {error}", options.listen))
    })?;
    listener.set_nonblocking(true)?;
    // Signals arrive as bytes.
    let (signals, sender) = UnixStream::pair()?;
    for signal in [Signal::TERM, Signal::INT] {
        signal_hook::low_level::pipe::register(signal.as_raw(), sender.try_clone()?)?;
    }
    writeln!(io::stdout(), "embed_loop on {}, {}", listener.local_addr()?, core.backend())?;

    let quiet = Duration::from_secs(options.idle_timeout);
    // Each connection holds a clone.
    let open = Rc::new(());
    let mut listener = Some(listener);
    let (mut accept_again, mut end) = (Instant::now(), None);
    loop {
        // First the core, until the others would have to wait for long; then how long the loop may sleep.
        let mut wait = core.turn().timeout();
        let now = Instant::now();
        if let Some(end) = end
            && (Rc::strong_count(&open) == 1 || now >= end)
        {
            break;
        }
        let pause = Some(accept_again).filter(|again| *again > now);
        for other in [end, pause].into_iter().flatten() {
            let left = other.saturating_duration_since(now);
            wait = Some(wait.map_or(left, |wait| wait.min(left)));
        }

        let mut fds = vec![PollFd::new(&core, PollFlags::IN), PollFd::new(&signals, PollFlags::IN)];
        if let Some(listener) = listener.as_ref().filter(|_| pause.is_none()) {
            fds.push(PollFd::new(listener, PollFlags::IN));
        }
        // A wait that is too long for the system is as good as one without end.
        let limit = wait.and_then(|wait| Timespec::try_from(wait).ok());
        match poll(&mut fds, limit.as_ref()) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let is_ready = |index: usize| fds.get(index).is_some_and(|fd| !fd.revents().is_empty());
        let (is_asked_to_end, has_clients) = (is_ready(1), is_ready(2));
        if is_asked_to_end && end.is_none() {
            end = Some(Instant::now() + Duration::from_secs(options.drain));
            rustix::io::read(&signals, &mut [0; 16])?;
        }
        if let Some(listening) = listener.as_ref().filter(|_| has_clients)
            && !accept(listening, |stream| drop(core.spawn(echo(stream, quiet, open.clone()))))
        {
            accept_again = Instant::now() + ACCEPT_PAUSE;
        }
        if end.is_some() {
            listener = None;
        }
    }
    if Rc::strong_count(&open) > 1 {
        writeln!(io::stderr(), "embed_loop: connections were cut after {} s", options.drain)?;
    }
    Ok(())
}

/// Takes all that wait; false if there is no descriptor left for the next.
fn accept(listener: &TcpListener, mut start: impl FnMut(TcpStream)) -> bool {
    loop {
        match listener.accept() {
            Ok((stream, _)) => start(stream),
            Err(error) => match error.kind() {
                ErrorKind::WouldBlock => return true,
                // The client went away.
                ErrorKind::ConnectionAborted | ErrorKind::Interrupted => {}
                _ => return false,
            },
        }
    }
}

/// Echoes until the client ends, or says nothing for `quiet`.
async fn echo(stream: TcpStream, quiet: Duration, _open: Rc<()>) {
    let stream = coronet::net::TcpStream::from(stream);
    while let Ok(Ok(bytes)) = coronet::time::timeout(quiet, stream.recv()).await {
        if bytes.is_empty() || stream.write_all(bytes).await.0.is_err() {
            break;
        }
    }
}
