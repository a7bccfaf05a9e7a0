//! The load generator: one thread, closed loop, every received byte verified.
//!
//! It sends to any echo server over TCP, measures throughput and the latency of each message,
//! and reads what the server's process used. It says itself when it was the bottleneck.

mod churn;
mod echo;
mod meter;

use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use coronet_benches::affinity;
use coronet_benches::report::Report;

/// The load generator: one thread, closed loop, every received byte verified.
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
    /// Bytes per message.
    #[arg(long, default_value_t = 64)]
    size: usize,
    /// Messages in flight per connection.
    #[arg(long, default_value_t = 1)]
    pipeline: usize,
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
}

/// What to do with the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Mode {
    /// Keep connections, exchange messages.
    Echo,
    /// Connect, exchange one message, close.
    Churn,
}

/// What to do while there is nothing to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Wait {
    /// Watch the ring: nobody pays for waking the generator.
    Spin,
    /// Sleep in the kernel: the server pays for the wake-ups, as next to a local client.
    Sleep,
}

fn seconds(text: &str) -> Result<Duration, String> {
    let seconds: f64 = text.parse().map_err(|_| format!("{text:?} is not a number"))?;
    Duration::try_from_secs_f64(seconds).map_err(|error| error.to_string())
}

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(report) => {
            print(&report, options.json);
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("load: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> anyhow::Result<Report> {
    ensure!(options.connections > 0, "--connections must be at least 1");
    ensure!(options.size > 0, "--size must be at least 1");
    ensure!(options.pipeline > 0, "--pipeline must be at least 1");
    ensure!(!options.duration.is_zero(), "--duration must not be zero");
    let in_flight = options.size.checked_mul(options.pipeline);
    ensure!(in_flight.is_some_and(|bytes| bytes <= 1 << 30), "--size times --pipeline must be at most 1 GiB");
    if let Some(cpu) = options.cpu {
        affinity::pin(cpu).with_context(|| format!("pin to CPU {cpu}"))?;
    }
    match options.mode {
        Mode::Echo => echo::run(options),
        Mode::Churn => churn::run(options),
    }
}

fn print(report: &Report, json: bool) {
    if json {
        println!("{}", serde_json::to_string(report).expect("a report is plain data"));
        return;
    }
    let Report { mode, connections, size, pipeline, .. } = report;
    println!("{mode}: {size} bytes x {connections} connections x {pipeline} in flight");
    println!(
        "  {:.0} per second, {:.1} MB/s, in {:.2} s",
        report.per_second, report.megabytes_per_second, report.seconds
    );
    let latency = report.latency;
    println!(
        "  latency: p50 {:.1} us, p99 {:.1} us, p999 {:.1} us, max {:.1} us",
        latency.p50_us, latency.p99_us, latency.p999_us, latency.max_us
    );
    if let Some(server) = report.server {
        let usage = server.usage;
        let part = |ns: u64| server.cpu_us_per_message * ns as f64 / usage.cpu_ns.max(1) as f64;
        println!(
            "  server: {:.1} % CPU, {:.3} us per message (user {:.3}, system {:.3})",
            server.cpu_share * 100.0,
            server.cpu_us_per_message,
            part(usage.user_ns),
            part(usage.system_ns)
        );
        println!(
            "  server: {} voluntary and {} involuntary switches, {} KiB resident, {} kernel workers",
            usage.voluntary_switches, usage.involuntary_switches, usage.rss_kib, usage.kernel_workers
        );
    }
    let bound = if report.generator_bound { ": generator-bound" } else { "" };
    println!("  generator: {:.1} % busy{bound}", report.generator_busy * 100.0);
}
