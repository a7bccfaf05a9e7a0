//! What one run of the load generator found, as `load --json` prints it and `rounds` reads it.
//!
//! One line of JSON on standard output. A run that succeeded prints a [`Report`]; one that failed prints a
//! [`Failure`] and ends with exit code 1. `verified` tells them apart.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

/// The figures of one run.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Report {
    /// What was done.
    #[serde(flatten)]
    pub load: Load,
    /// How long was measured.
    pub seconds: f64,
    /// Requests answered in that time: messages echoed, connections made and closed, or chunks streamed.
    pub requests: u64,
    /// Requests per second.
    pub throughput: f64,
    /// Payload of that time, in one direction.
    pub bytes: u64,
    /// Payload per second in one direction, in MB.
    pub megabytes_per_second: f64,
    /// Latency of a request, from when it was to be sent; none where nothing is answered.
    pub latency_ns: Option<Latency>,
    /// Open loop: requests that were due and not answered when the time was over. Their age until then is
    /// among the latencies.
    pub outstanding: u64,
    /// The share of the time in which the generator had work: near 1, it is the limit.
    pub generator_share: f64,
    /// The generator was the limit, and the server was not.
    pub generator_bound: bool,
    /// What the server used, if its process was named.
    pub server: Option<Server>,
    /// What idle connections hold; of the mode `idle` only.
    pub memory: Option<Memory>,
    /// Everything that came back was what was sent. Always true here.
    pub verified: bool,
    /// Errors by kind. Always empty here.
    pub errors: BTreeMap<String, u64>,
}

/// What is left of a run that failed.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Failure {
    /// What was tried.
    #[serde(flatten)]
    pub load: Load,
    /// Always false here.
    pub verified: bool,
    /// The kind of the error that ended the run, with its count: `refused`, `reset`, `closed`, `payload`,
    /// `silent` or `other`.
    pub errors: BTreeMap<String, u64>,
}

/// What the generator was asked to do.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Load {
    /// `echo`, `churn`, `stream`, `stream-echo` or `idle`.
    pub mode: String,
    /// Connections at the same time.
    pub connections: usize,
    /// Bytes per message or chunk.
    pub size: usize,
    /// Messages in flight per connection, in a closed loop.
    pub pipeline: usize,
    /// Requests per second that were to be sent, in an open loop.
    pub rate: Option<f64>,
}

/// Latencies in nanoseconds.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: u64,
    /// One request in ten took longer.
    pub p90: u64,
    /// One request in a hundred took longer.
    pub p99: u64,
    /// One request in a thousand took longer.
    pub p999: u64,
    /// The longest.
    pub max: u64,
}

/// What the server used while it was measured.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Server {
    /// CPU time, of all threads.
    pub cpu_seconds: f64,
    /// The part of it in user mode; the split comes from clock ticks and is coarse.
    pub user_seconds: f64,
    /// The part of it in the kernel.
    pub system_seconds: f64,
    /// CPU time per request, in microseconds.
    pub cpu_us_per_request: f64,
    /// CPU time per second of the run: 1 is one core.
    pub cpu_share: f64,
    /// Times a thread slept.
    pub voluntary_switches: u64,
    /// Times a thread was made to wait.
    pub involuntary_switches: u64,
    /// Resident memory at the end.
    pub rss_kib: u64,
    /// Kernel worker threads seen at the end: work that the ring did not do inline.
    pub kernel_workers: u64,
}

/// What idle connections hold, in bytes; differences to the time before the first connection.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Memory {
    /// Resident memory of the server.
    pub server_rss: Held,
    /// Its proportional share of the memory it maps.
    pub server_pss: Held,
    /// Memory of the kernel that it cannot give back, both ends of every connection and the files of both
    /// processes (`SUnreclaim`).
    pub kernel_unreclaimable: Held,
    /// Stacks of kernel threads and of threads in the kernel (`KernelStack`).
    pub kernel_stacks: Held,
    /// Slabs that grew by at least a byte per connection, while the connections were open, in bytes per
    /// connection; empty if `/proc/slabinfo` cannot be read.
    pub slabs_per_connection: BTreeMap<String, f64>,
}

/// One kind of memory at three moments.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Held {
    /// Before the first connection, in bytes.
    pub before: u64,
    /// While all connections were open, each after one echo.
    pub open: u64,
    /// After all were closed.
    pub closed: u64,
    /// What one open connection added.
    pub per_connection: f64,
}
