//! `coronet-storm`: the simulated part of the suite under a range of seeds, in one process.
//!
//! `cargo xtask storm` starts one for each CPU. It prints a line for each promise that is broken, and
//! ends with how many runs it did.

use std::process::ExitCode;

use clap::Parser;
use coronet_conformance::{Kernel, Promise, real, simulated, suite};

/// Runs the suite in the simulated kernel.
#[derive(Parser)]
struct Options {
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// How many seeds.
    #[arg(long)]
    seeds: u64,
    /// Distance between two seeds.
    #[arg(long, default_value_t = 1)]
    step: u64,
    /// Stop at the first broken promise.
    #[arg(long)]
    first: bool,
    /// Print the time that each promise took.
    #[arg(long)]
    times: bool,
    /// Only those that need a real kernel, once, on epoll.
    #[arg(long)]
    real: bool,
    /// Only promises whose name contains this.
    #[arg(default_value = "")]
    filter: String,
}

fn main() -> ExitCode {
    let options = Options::parse();
    // A broken promise is told in one line of ours.
    std::panic::set_hook(Box::new(|_| {}));
    let promises: Vec<_> =
        suite::all().into_iter().filter(|promise| promise.path().contains(&options.filter)).collect();
    if options.real {
        return real_kernel(&promises);
    }
    let mut times = vec![std::time::Duration::ZERO; promises.len()];
    let (mut runs, mut broken) = (0, 0);
    'seeds: for number in 0..options.seeds {
        let seed = options.from + number * options.step;
        for (promise, time) in promises.iter().zip(&mut times).filter(|(promise, _)| promise.runs_under(seed))
        {
            let start = std::time::Instant::now();
            let outcome = simulated::run(promise, seed, false);
            *time += start.elapsed();
            runs += 1;
            if let Some(failure) = outcome.failure {
                broken += 1;
                println!("broken {seed} {} {}", promise.path(), failure.replace('\n', " "));
                if options.first {
                    break 'seeds;
                }
            }
        }
    }
    if options.times {
        for (promise, time) in promises.iter().zip(times) {
            println!("{:8.1} ms  {}", time.as_secs_f64() * 1e3, promise.path());
        }
    }
    println!("runs {runs} broken {broken}");
    if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Each promise that the simulation cannot keep, on epoll, which every kernel has.
fn real_kernel(promises: &[Promise]) -> ExitCode {
    for promise in promises.iter().filter(|promise| promise.is_real_only()) {
        if std::panic::catch_unwind(|| real::run(promise, Kernel::Epoll)).is_err() {
            println!("broken 0 {} on epoll", promise.path());
            return ExitCode::FAILURE;
        }
    }
    ExitCode::SUCCESS
}
