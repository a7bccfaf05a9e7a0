//! An echo server straight on io_uring, without a runtime: the limit to compare with.
//!
//! One thread, one ring, one enter per loop. It promises nothing but speed on well-behaved
//! clients: a client that sends without ever reading holds its buffers for good.

mod connection;
mod hot;
mod multishot;

use std::net::SocketAddr;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use coronet_benches::affinity;
use coronet_benches::listen;

/// An echo server straight on io_uring, without a runtime.
#[derive(Parser, Debug)]
struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// The CPU to stay on.
    #[arg(long)]
    cpu: Option<usize>,
    /// How data is received.
    #[arg(long, value_enum, default_value = "incremental")]
    variant: Variant,
    /// The number of receive buffers [default: what measured best for the variant].
    #[arg(long)]
    buffers: Option<usize>,
    /// Bytes per receive buffer [default: what measured best for the variant].
    #[arg(long)]
    buffer_size: Option<usize>,
    /// Entries of the submission queue.
    #[arg(long, default_value_t = 512)]
    entries: u32,
    /// Use descriptors of the process instead of the registered table.
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
    /// The number of buffers and their size.
    fn pool(&self) -> (usize, usize) {
        let (count, size) = match self.variant {
            // As many as 1000 small messages need; fewer run dry, which costs a third.
            Variant::Multishot | Variant::Bundle => (128, 16 << 10),
            Variant::Incremental => (8, 128 << 10),
            Variant::Hot => (16, 256 << 10),
        };
        (self.buffers.unwrap_or(count), self.buffer_size.unwrap_or(size))
    }
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    if let Some(cpu) = options.cpu {
        affinity::pin(cpu).with_context(|| format!("pin to CPU {cpu}"))?;
    }
    let listener =
        listen::open(options.listen, false).with_context(|| format!("listen on {}", options.listen))?;
    match options.variant {
        Variant::Hot => hot::serve(&options, &listener),
        _ => multishot::serve(&options, &listener),
    }
}
