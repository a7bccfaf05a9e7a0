//! What every measured program promises, the reference servers included.
//!
//! - One command line: `--listen --mode --to --buffer --threads`. A bad option is one line, exit code 2.
//! - One kind of socket: port shared between threads, a backlog of 4096, `TCP_NODELAY` everywhere.
//! - One line of output, `listening on ADDR`, when every thread accepts. SIGTERM ends it with exit code 0.
//!
//! How bytes are moved is the program's own business: that is what is measured.

pub mod installed;

use std::error::Error;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::process::{self, ExitCode};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use clap::error::ErrorKind;
use clap::{Args, Parser, ValueEnum};
use socket2::{Domain, Socket, Type};

/// Bytes per buffer if nobody says otherwise: a large message fits, and so do many of them into a cache.
pub const BUFFER_DEFAULT: usize = 16 << 10;

/// The options that all programs have.
#[derive(Args, Clone, Debug)]
pub struct Common {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    pub listen: SocketAddr,
    /// What to do with a connection.
    #[arg(long, value_enum, default_value = "echo")]
    pub mode: Mode,
    /// Where a proxy connects to.
    #[arg(long, value_name = "ADDR", required_if_eq("mode", "proxy"))]
    pub to: Option<SocketAddr>,
    /// Bytes per buffer. If this is not given, a proxy copies as its runtime does by default.
    #[arg(long, alias = "buffer-size", value_name = "BYTES", value_parser = bytes)]
    pub buffer: Option<usize>,
    /// Threads that accept, each with a listener of its own.
    #[arg(long, value_name = "N", default_value = "1", value_parser = threads)]
    pub threads: usize,
}

/// What to do with a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Mode {
    /// Send back what comes in, until the peer sends no more.
    Echo,
    /// Receive and forget, close when the peer sends no more.
    Sink,
    /// Connect to `--to` and copy both ways; the end of one direction is passed on.
    Proxy,
}

/// A [`Mode`] with what it needs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Service {
    /// [`Mode::Echo`].
    Echo,
    /// [`Mode::Sink`].
    Sink,
    /// [`Mode::Proxy`] to this address.
    Proxy(SocketAddr),
}

/// How a program or one of its threads ends.
pub type Outcome = Result<(), Box<dyn Error>>;

/// The common options and none beside them.
#[derive(Parser, Debug)]
pub struct Plain {
    /// The common options.
    #[command(flatten)]
    pub common: Common,
}

impl Common {
    /// What to do with each connection.
    ///
    /// # Panics
    /// Never: the command line refuses a proxy without `--to`.
    #[must_use]
    pub fn service(&self) -> Service {
        match self.mode {
            Mode::Echo => Service::Echo,
            Mode::Sink => Service::Sink,
            Mode::Proxy => Service::Proxy(self.to.expect("a proxy without an address was refused")),
        }
    }

    /// Bytes per buffer.
    #[must_use]
    pub fn buffer_or_default(&self) -> usize {
        self.buffer.unwrap_or(BUFFER_DEFAULT)
    }

    /// Opens a listener per thread and runs `serve` with each, the first on the calling thread.
    ///
    /// # Errors
    /// The address cannot be had, no thread can be had, or what `serve` ends with. Another thread that ends
    /// takes the process with it: half a server would be measured as a whole one.
    pub fn serve(
        &self,
        nonblocking: bool,
        serve: impl Fn(TcpListener, Ready) -> Outcome + Send + Sync + 'static,
    ) -> Outcome {
        let open = |address| {
            listener(address, nonblocking).map_err(|error| format!("listen on {}: {error}", self.listen))
        };
        let first = open(self.listen)?;
        let address = first.local_addr()?;
        let ready = Ready::new(address, self.threads);
        let serve = Arc::new(serve);
        for _ in 1..self.threads {
            let (listener, serve, ready) = (open(address)?, Arc::clone(&serve), ready.clone());
            thread::Builder::new().spawn(move || {
                if let Err(error) = serve(listener, ready) {
                    eprintln!("a thread that serves: {error}");
                }
                process::exit(1)
            })?;
        }
        serve(first, ready)
    }
}

/// Says that a thread accepts; the last one to say it prints the line.
#[derive(Clone, Debug)]
pub struct Ready {
    address: SocketAddr,
    left: Arc<AtomicUsize>,
}

impl Ready {
    /// For a program that listens at `address` on so many threads.
    #[must_use]
    pub fn new(address: SocketAddr, threads: usize) -> Self {
        Self { address, left: Arc::new(AtomicUsize::new(threads)) }
    }

    /// The calling thread accepts.
    ///
    /// # Errors
    /// Standard output is gone.
    pub fn now(self) -> io::Result<()> {
        if self.left.fetch_sub(1, Ordering::Relaxed) > 1 {
            return Ok(());
        }
        let mut out = io::stdout().lock();
        writeln!(out, "listening on {}", self.address)?;
        out.flush()
    }
}

/// Reads the command line. What is wrong with it is one line on the error stream and exit code 2.
///
/// # Errors
/// The exit code to end with; all is said.
pub fn parse<T: Parser>() -> Result<T, ExitCode> {
    T::try_parse().map_err(|error| {
        if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
            // Nowhere to print it is no reason to fail.
            let _ = error.print();
            return ExitCode::SUCCESS;
        }
        eprintln!("{}: {}", program_name(), one_line(&error.to_string()));
        ExitCode::from(2)
    })
}

/// The main function of every program: reads the command line, ends on SIGTERM, turns an error into a line.
pub fn run<T: Parser>(program: impl FnOnce(T) -> Outcome) -> ExitCode {
    let options = match parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    // In the handler itself: no thread that a measurement would see.
    let at_once = Arc::new(AtomicBool::new(true));
    let caught = signal_hook::flag::register_conditional_shutdown(signal_hook::consts::SIGTERM, 0, at_once);
    match caught.map_err(Into::into).and_then(|_| program(options)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{}: {error}", program_name());
            ExitCode::FAILURE
        }
    }
}

/// The main function of a program that has no options of its own and serves on every thread alike.
pub fn run_per_thread(nonblocking: bool, serve: fn(&Common, TcpListener, Ready) -> Outcome) -> ExitCode {
    run(|Plain { common }| {
        let shared = common.clone();
        common.serve(nonblocking, move |listener, ready| serve(&shared, listener, ready))
    })
}

/// Opens a listener whose connections inherit `TCP_NODELAY`, so that none needs a system call for it.
///
/// # Errors
/// The address is in use or not ours.
pub fn listener(address: SocketAddr, nonblocking: bool) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_tcp_nodelay(true)?;
    socket.set_nonblocking(nonblocking)?;
    socket.bind(&address.into())?;
    socket.listen(4096)?;
    Ok(socket.into())
}

/// What the program is called, for its messages.
fn program_name() -> String {
    let path = std::env::current_exe().unwrap_or_default();
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

/// The first paragraph of a message, which says what is wrong; behind it comes how to use the program.
fn one_line(message: &str) -> String {
    let first = message.split("\n\n").next().unwrap_or_default();
    let words: Vec<&str> = first.trim_start_matches("error:").split_whitespace().collect();
    words.join(" ")
}

fn bytes(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(bytes @ 1..=0x4000_0000) => Ok(bytes),
        _ => Err("a buffer has 1 byte to 1 GiB".to_owned()),
    }
}

fn threads(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(threads @ 1..=1024) => Ok(threads),
        _ => Err("1 to 1024 threads are possible".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_the_command_line_is_one_line() {
        for words in [
            &["program", "--mode", "proxy"][..],
            &["program", "--mode", "nonsense"],
            &["program", "--buffer", "0"],
            &["program", "--threads", "0"],
            &["program", "--listen", "here"],
            &["program", "--nonsense"],
        ] {
            let error = Plain::try_parse_from(words).expect_err("the options are wrong");
            let line = one_line(&error.to_string());
            assert!(!line.is_empty() && !line.contains('\n') && !line.starts_with("error"), "{line:?}");
        }
    }

    #[test]
    fn a_proxy_knows_where_to_connect() {
        let words = ["program", "--mode", "proxy", "--to", "127.0.0.1:1"];
        let plain = Plain::try_parse_from(words).expect("the options are right");
        assert_eq!(plain.common.service(), Service::Proxy(SocketAddr::from(([127, 0, 0, 1], 1))));
    }
}
