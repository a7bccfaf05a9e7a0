//! A server straight on io_uring, without a runtime: the limit to compare with.
//!
//! Each thread has a ring and a listener, and enters the kernel once per loop. It promises nothing but speed
//! on well-behaved clients: a client that sends without ever reading holds its buffers for good.

mod connection;
mod hot;
mod multishot;
mod proxy;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use coronet_benches::affinity;
use rival_options::{Common, Mode, Outcome, Service};

/// A server straight on io_uring, without a runtime.
#[derive(Parser, Clone, Debug)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// The CPU to stay on.
    #[arg(long)]
    cpu: Option<usize>,
    /// How data is received [default: incremental, for a proxy multishot].
    #[arg(long, value_enum)]
    variant: Option<Variant>,
    /// The number of receive buffers [default: what measured best for the variant].
    #[arg(long)]
    buffers: Option<usize>,
    /// Entries of the submission queue.
    #[arg(long, default_value_t = 512)]
    entries: u32,
    /// Use descriptors of the process instead of the registered table, as a proxy always does.
    #[arg(long)]
    normal_descriptors: bool,
    /// Print the counters on the error stream once per second while there is traffic.
    #[arg(long)]
    verbose: bool,
}

/// How data is received.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Variant {
    /// Multishot receives, a buffer for each.
    Multishot,
    /// Multishot receives that fill large buffers piece by piece (6.12).
    Incremental,
    /// Multishot receives that may take several buffers (6.10).
    Bundle,
    /// A poll per connection, then one-shot receives into the buffer used last.
    Hot,
}

impl Options {
    fn variant(&self) -> Variant {
        let default = if self.common.mode == Mode::Proxy { Variant::Multishot } else { Variant::Incremental };
        self.variant.unwrap_or(default)
    }

    /// The number of buffers and their size.
    fn pool(&self) -> (usize, usize) {
        let (count, size) = match self.variant() {
            // As many as 1000 small messages need; fewer run dry, which costs a third.
            Variant::Multishot | Variant::Bundle => (128, 16 << 10),
            Variant::Incremental => (8, 128 << 10),
            Variant::Hot => (16, 256 << 10),
        };
        (self.buffers.unwrap_or(count), self.common.buffer.unwrap_or(size))
    }
}

fn main() -> ExitCode {
    rival_options::run(start)
}

fn start(options: Options) -> Outcome {
    match (options.common.mode, options.variant()) {
        (Mode::Sink, Variant::Hot) => return Err("--variant hot is for --mode echo".into()),
        // One bundle can take all buffers, and an incremental one is held whole for a single byte: the
        // opposite direction would find none, and nothing would ever move again.
        (Mode::Proxy, Variant::Bundle | Variant::Incremental | Variant::Hot) => {
            return Err(
                "--mode proxy needs --variant multishot: others let one direction hold all buffers".into()
            );
        }
        _ => {}
    }
    if let Some(cpu) = options.cpu {
        affinity::pin(cpu).with_context(|| format!("pin to CPU {cpu}"))?;
    }
    options.common.clone().serve(false, move |listener, ready| {
        match (options.common.service(), options.variant()) {
            (Service::Proxy(to), _) => proxy::serve(&options, to, &listener, ready),
            (_, Variant::Hot) => hot::serve(&options, &listener, ready),
            _ => multishot::serve(&options, &listener, ready),
        }
        .map_err(Into::into)
    })
}
