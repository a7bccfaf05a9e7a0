//! The runner: starts servers, loads each in turn, prints paired ratios.
//!
//! The servers of one round are measured in mirrored order, A B C C B A, so that a slow drift
//! of the machine hits all alike. Each server is started anew for every measurement: none
//! inherits buffers, ports or a warm heap. Ratios are taken within a round, against the first
//! server; with `--aa` the first server runs twice, and the second copy is the noise floor.

mod case;
mod child;
mod summary;
mod table;

use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use coronet_benches::report::Report;
use serde::Serialize;

use crate::case::Case;
use crate::child::{Bench, Contestant};
use crate::summary::Row;

/// Starts servers, loads each in turn, prints paired ratios.
#[derive(Parser, Debug)]
struct Options {
    /// A server, as `NAME=COMMAND`; `{addr}` in the command becomes the address to listen on.
    /// Words are split at blanks. `raw_uring` and `raw_epoll`, alone or followed by options,
    /// are the servers built next to this runner. The first server is the one to compare with.
    #[arg(long = "server", required = true)]
    servers: Vec<Contestant>,
    /// A case, as `SIZExCONNECTIONS[xPIPELINE]`; sizes may end in K or M.
    #[arg(long = "case", required = true)]
    cases: Vec<Case>,
    /// Rounds per case; each measures every server twice.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Seconds per measurement.
    #[arg(long, default_value_t = 3.0)]
    duration: f64,
    /// Seconds before each measurement.
    #[arg(long, default_value_t = 0.5)]
    warmup: f64,
    /// Run the first server a second time, as the noise floor.
    #[arg(long)]
    aa: bool,
    /// What the generator does.
    #[arg(long, value_enum, default_value = "echo")]
    mode: Mode,
    /// What the generator does while there is nothing to do.
    #[arg(long, value_enum, default_value = "spin")]
    wait: Wait,
    /// The CPU of the servers.
    #[arg(long, default_value_t = 0)]
    server_cpu: usize,
    /// The CPU of the generator.
    #[arg(long, default_value_t = 1)]
    load_cpu: usize,
    /// Print a Markdown table.
    #[arg(long)]
    markdown: bool,
    /// Write all measurements and the summary to this file.
    #[arg(long)]
    json: Option<PathBuf>,
}

/// What the generator does.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Mode {
    /// Keep connections, exchange messages.
    Echo,
    /// Connect, exchange one message, close.
    Churn,
}

/// What the generator does while there is nothing to do.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum Wait {
    /// Watch the ring.
    Spin,
    /// Sleep in the kernel.
    Sleep,
}

/// One run of the generator against one server.
#[derive(Clone, Debug, Serialize)]
struct Measurement {
    case: String,
    server: String,
    round: usize,
    report: Report,
}

fn main() -> ExitCode {
    match run(Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("rounds: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(mut options: Options) -> anyhow::Result<()> {
    ensure!(options.rounds > 0, "--rounds must be at least 1");
    if options.aa {
        options.servers.insert(1, options.servers[0].again());
    }
    let names: Vec<&str> = options.servers.iter().map(|server| server.name.as_str()).collect();
    for (index, name) in names.iter().enumerate() {
        ensure!(!names[..index].contains(name), "two servers are named {name}");
    }
    let stop = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, Arc::clone(&stop)).context("catch signals")?;
    }
    let bench = Bench::new(&options, stop)?;
    let mut measurements = Vec::new();
    for case in &options.cases {
        for round in 0..options.rounds {
            for server in options.servers.iter().chain(options.servers.iter().rev()) {
                let report = bench
                    .measure(server, *case)
                    .with_context(|| format!("{case}, round {}, {}", round + 1, server.name))?;
                eprintln!(
                    "{case} round {}/{} {}: {:.0}/s",
                    round + 1,
                    options.rounds,
                    server.name,
                    report.throughput
                );
                measurements.push(Measurement {
                    case: case.to_string(),
                    server: server.name.clone(),
                    round,
                    report,
                });
            }
        }
    }
    let rows = summary::summarize(&options.cases, &options.servers, &measurements);
    println!("{}", table::render(&rows, options.markdown));
    if let Some(path) = &options.json {
        write_json(path, &rows, &measurements)?;
    }
    Ok(())
}

fn write_json(path: &PathBuf, rows: &[Row], measurements: &[Measurement]) -> anyhow::Result<()> {
    #[derive(Serialize)]
    struct All<'all> {
        rows: &'all [Row],
        measurements: &'all [Measurement],
    }
    let text = serde_json::to_string_pretty(&All { rows, measurements })?;
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}
