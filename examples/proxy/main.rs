//! A TCP proxy for production: every core accepts, connects and relays on its own ring, and bytes are sent from
//! the buffers they were received into.
//!
//! It shows how a server is built on Coronet: cores that share nothing but counters, work beside the traffic on a
//! core of its own, half-closed connections, resets that stay resets, bounded memory, a drain, and a hand-over to a
//! successor without a refused connection.
//!
//! Run it, between a client and a server of yours:
//! `cargo run --release --example proxy -- --listen 127.0.0.1:8080 --to 127.0.0.1:9001,127.0.0.1:9002`.
//! You should see one line with address, backend, cores and upstreams, and nothing else until Ctrl-C or SIGTERM:
//! then it stops accepting, and gives open connections `--drain-timeout` to end. What happens meanwhile is counted:
//! add `--metrics 127.0.0.1:9100` and open `http://127.0.0.1:9100/metrics`.
//!
//! All options, metrics and signals: `docs/PROXY.md`.

mod control;

mod serve;

mod connection;

mod relay;

mod upkeep;

mod shared;

mod upstreams;

mod metrics;

mod limit;

mod drain;

mod handover;

#[path = "../shared/listeners.rs"]
mod listeners;

mod options;

mod config;

mod balance;
mod health;
mod proxy_protocol;

use std::io::Write;
use std::process::exit;

use clap::Parser;

fn main() {
    let code = match control::run(&options::Options::parse()) {
        Ok(()) => 0,
        Err(failure) => {
            // Nowhere to say it is no reason to panic.
            let _ = writeln!(std::io::stderr(), "proxy: {failure}");
            failure.code()
        }
    };
    // Now: threads that look a name up may be busy for a while.
    exit(code);
}
