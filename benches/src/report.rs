//! What one run of the load generator found, as `load` prints it and `rounds` reads it.

use serde::{Deserialize, Serialize};

use crate::process::Usage;

/// The figures of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// `echo` or `churn`.
    pub mode: String,
    /// Connections at the same time.
    pub connections: usize,
    /// Bytes per message.
    pub size: usize,
    /// Messages in flight per connection.
    pub pipeline: usize,
    /// How long was measured.
    pub seconds: f64,
    /// Messages echoed (or connections made) in that time.
    pub messages: u64,
    /// Messages per second.
    pub per_second: f64,
    /// Payload per second in one direction, in MB.
    pub megabytes_per_second: f64,
    /// Latency of a message.
    pub latency: Latency,
    /// The share of the time in which the generator had work: near 1, it is the limit.
    pub generator_busy: f64,
    /// The generator was the limit, and the server was not.
    pub generator_bound: bool,
    /// What the server used, if its process was named.
    pub server: Option<Server>,
}

/// Latencies in microseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50_us: f64,
    /// One message in a hundred took longer.
    pub p99_us: f64,
    /// One message in a thousand took longer.
    pub p999_us: f64,
    /// The longest.
    pub max_us: f64,
}

/// What the server used while it was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Server {
    /// The counters.
    pub usage: Usage,
    /// CPU time per message, in microseconds.
    pub cpu_us_per_message: f64,
    /// CPU time per second of the run: 1 is one core.
    pub cpu_share: f64,
}
