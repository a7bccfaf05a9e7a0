//! A server straight on epoll, without a runtime: what io_uring has to beat.
//!
//! Each thread has an epoll instance, a listener and one shared buffer, and makes no system call that is not
//! needed: an event leads to one read and one write. Only what a write did not take is copied and kept.

mod echo;
mod proxy;

use std::process::ExitCode;

use anyhow::Context;
use clap::{Parser, ValueEnum};
use coronet_benches::affinity;
use rival_options::{Common, Outcome, Service};

/// A server straight on epoll, without a runtime.
#[derive(Parser, Clone, Debug)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// The CPU to stay on.
    #[arg(long)]
    cpu: Option<usize>,
    /// When the kernel reports a connection.
    #[arg(long, value_enum, default_value = "edge")]
    trigger: Trigger,
    /// Let a proxy move bytes through a pipe by splice(2).
    #[arg(long)]
    splice: bool,
}

/// When the kernel reports a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Trigger {
    /// When something new has arrived.
    Edge,
    /// As long as there is something to read.
    Level,
}

/// The event data of the listener; connections use a number of their own.
const LISTENER: u64 = u64::MAX;

impl Options {
    /// Bytes of the shared receive buffer: there is only one, so it may be large.
    fn buffer(&self) -> usize {
        self.common.buffer.unwrap_or(64 << 10)
    }
}

fn main() -> ExitCode {
    rival_options::run(start)
}

fn start(options: Options) -> Outcome {
    if let Some(cpu) = options.cpu {
        affinity::pin(cpu).with_context(|| format!("pin to CPU {cpu}"))?;
    }
    let service = options.common.service();
    options.common.clone().serve(true, move |listener, ready| {
        match service {
            Service::Echo | Service::Sink => echo::serve(&options, listener, ready),
            Service::Proxy(to) => proxy::serve(&options, to, &listener, ready),
        }
        .map_err(Into::into)
    })
}
