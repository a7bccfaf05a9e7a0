//! The load generator: one thread, every received byte verified.
//!
//! It loads any server over TCP, measures throughput and the latency of each request, and reads what the
//! server's process used. It says itself when it was the bottleneck. A connection that is refused, reset
//! or closed, a wrong byte and a server that never answers end the run: one line, exit code 1.

mod churn;
mod echo;
mod idle;
mod stream;

mod meter;
mod print;

mod fault;
mod schedule;

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use coronet_benches::affinity;
use coronet_benches::report::Load;

/// The load generator: one thread, every received byte verified.
#[derive(Parser, Debug)]
struct Options {
    /// The server.
    #[arg(long)]
    connect: SocketAddr,
    /// What to do with it.
    #[arg(long, value_enum, default_value = "echo")]
    mode: Mode,
    /// Connections at the same time.
    #[arg(long, default_value_t = 50)]
    connections: usize,
    /// Bytes per message, or per chunk of a stream [default: 64, for streams 65536].
    #[arg(long)]
    size: Option<usize>,
    /// Messages in flight per connection.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
    /// Open loop: requests per second over all connections, sent when they are due. Latency counts from then.
    #[arg(long, conflicts_with = "pipeline", value_parser = rate)]
    rate: Option<f64>,
    /// Seconds to measure.
    #[arg(long, default_value = "3", value_parser = seconds)]
    duration: Duration,
    /// Seconds to run before that.
    #[arg(long, default_value = "0.5", value_parser = seconds)]
    warmup: Duration,
    /// The CPU to stay on.
    #[arg(long)]
    cpu: Option<usize>,
    /// What to do while there is nothing to do.
    #[arg(long, value_enum, default_value = "spin")]
    wait: Wait,
    /// The congestion control of the generator's side, such as `reno` [default: the system's].
    #[arg(long)]
    congestion: Option<String>,
    /// The server's process, to read what it uses.
    #[arg(long)]
    server_pid: Option<u32>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
    /// Measure again on the same connections for each line of standard input, until it ends.
    #[arg(long)]
    again: bool,
}

/// What to do with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Keep connections, exchange messages.
    Echo,
    /// Connect, exchange one message, close.
    Churn,
    /// Send without an end to a server that only receives.
    Stream,
    /// Send without an end to a server that echoes, and receive at the same time.
    StreamEcho,
    /// Open connections, exchange one message on each, look what they hold in memory.
    Idle,
}

/// What to do while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wait {
    /// Watch the ring: nobody pays for waking the generator.
    Spin,
    /// Sleep in the kernel: the server pays for the wake-ups, as next to a local client.
    Sleep,
}

impl Options {
    /// Bytes per message or chunk.
    fn size(&self) -> usize {
        let default = match self.mode {
            Mode::Echo | Mode::Churn | Mode::Idle => 64,
            Mode::Stream | Mode::StreamEcho => 64 << 10,
        };
        self.size.unwrap_or(default)
    }

    /// The part of the report that is known beforehand.
    fn load(&self) -> Load {
        let mode = self.mode.to_possible_value().expect("every mode has a name");
        Load {
            mode: mode.get_name().to_owned(),
            connections: self.connections,
            size: self.size(),
            pipeline: self.pipeline,
            rate: self.rate,
        }
    }
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn rate(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(rate) if (0.1..=1e8).contains(&rate) => Ok(rate),
        _ => Err("a rate has 0.1 to 1e8 requests per second".to_owned()),
    }
}

fn main() -> ExitCode {
    let options: Options = match rival_options::parse() {
        Ok(options) => options,
        Err(code) => return code,
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::failure(&error, options.load(), options.json);
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<()> {
    let size = options.size();
    ensure!(options.connections > 0, "--connections must be at least 1");
    ensure!(size > 0, "--size must be at least 1");
    ensure!(options.pipeline > 0, "--pipeline must be at least 1");
    ensure!(!options.duration.is_zero(), "--duration must not be zero");
    let in_flight = size.checked_mul(options.pipeline);
    ensure!(in_flight.is_some_and(|bytes| bytes <= 1 << 30), "--size times --pipeline must be at most 1 GiB");
    let closed = options.mode == Mode::Echo && options.rate.is_none();
    ensure!(closed || options.pipeline == 1, "--pipeline is for a closed loop of --mode echo");
    if options.rate.is_some() {
        ensure!(options.mode == Mode::Echo, "--rate is for --mode echo");
        ensure!(options.wait == Wait::Spin, "--rate needs --wait spin: a sleeper is late");
    }
    if let Some(cpu) = options.cpu {
        affinity::pin(cpu).with_context(|| format!("pin to CPU {cpu}"))?;
    }
    ensure!(closed || !options.again, "--again is for a closed loop of --mode echo");
    let report = match options.mode {
        Mode::Echo => {
            return echo::run(options, |report| {
                print::report(report, options.json);
                Ok(options.again && asked_again().context("read standard input")?)
            });
        }
        Mode::Churn => churn::run(options)?,
        Mode::Stream | Mode::StreamEcho => stream::run(options)?,
        Mode::Idle => idle::run(options)?,
    };
    print::report(&report, options.json);
    Ok(())
}

/// Waits for a line; false at the end of standard input.
fn asked_again() -> io::Result<bool> {
    Ok(io::stdin().read_line(&mut String::new())? > 0)
}
