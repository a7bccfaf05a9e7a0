//! The load generator's face: what it is asked, and the one line of JSON that it answers.
//!
//! Nothing else in this crate knows the generator's options or fields.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::compare::cell::{Cell, Workload};
use crate::compare::report::Latency;

/// What to ask for, beside the cell.
#[derive(Clone, Debug)]
pub(crate) struct Request {
    pub(crate) address: String,
    pub(crate) server: u32,
    pub(crate) duration: f64,
    pub(crate) warmup: f64,
    pub(crate) rate: Option<f64>,
    /// It shares its CPU with others, so it must not spin.
    pub(crate) crowded: bool,
    /// It is to measure again for each line that it hears.
    pub(crate) again: bool,
}

/// The options for one measurement.
pub(crate) fn arguments(cell: Cell, request: &Request) -> Vec<String> {
    let mode = match cell.workload {
        Workload::Echo | Workload::Pipelined | Workload::Proxy | Workload::Latency => "echo",
        Workload::Churn => "churn",
        Workload::Stream | Workload::Relay => "stream",
        Workload::Idle => "idle",
    };
    let mut words = vec!["--json".to_owned()];
    let mut option = |name: &str, value: String| words.extend([name.to_owned(), value]);
    option("--connect", request.address.clone());
    option("--server-pid", request.server.to_string());
    option("--mode", mode.to_owned());
    option("--size", cell.size.to_string());
    option("--connections", cell.connections.to_string());
    option("--duration", format!("{:.3}", request.duration));
    option("--warmup", format!("{:.3}", request.warmup));
    match request.rate {
        Some(rate) => option("--rate", format!("{rate:.0}")),
        None => option("--pipeline", cell.pipeline.to_string()),
    }
    // An open loop has to spin: who sleeps is late.
    if request.crowded && request.rate.is_none() {
        option("--wait", "sleep".to_owned());
    }
    if request.again {
        words.push("--again".to_owned());
    }
    words
}

/// What came back is not what was sent.
pub(crate) const NOT_VERIFIED: &str = "payload did not verify";

/// One measurement of one row.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Sample {
    pub(crate) requests: f64,
    pub(crate) per_second: f64,
    pub(crate) megabytes_per_second: f64,
    /// CPU time of the server per request, in microseconds.
    pub(crate) cpu_us: Option<f64>,
    pub(crate) latency: Option<Latency>,
    /// Context switches of the server per request.
    pub(crate) switches: Option<f64>,
    /// Times per second that the server was made to wait for its CPU.
    pub(crate) preempted: f64,
    pub(crate) rss_kib: Option<f64>,
    /// The share of the time in which the generator had work.
    pub(crate) generator_busy: f64,
    /// Kernel threads that worked for the server's ring.
    pub(crate) kernel_workers: u64,
    pub(crate) memory: Option<Memory>,
}

/// What one idle connection holds, in bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Memory {
    /// Resident memory of the server.
    pub(crate) user: f64,
    /// Memory of the kernel, both ends of the connection.
    pub(crate) kernel: f64,
}

/// Reads the generator's answer. A run whose payload did not verify is an error that says so.
pub(crate) fn parse(text: &str) -> Result<Sample, String> {
    let line = text.lines().rfind(|line| line.trim_start().starts_with('{')).unwrap_or("");
    let unreadable = |error| format!("the generator's answer cannot be read: {error}");
    let verdict: Verified = serde_json::from_str(line).map_err(unreadable)?;
    let errors: Vec<String> = verdict.errors.iter().map(|(kind, count)| format!("{kind}: {count}")).collect();
    if verdict.errors.contains_key("payload") {
        return Err(format!("{NOT_VERIFIED} ({})", errors.join(", ")));
    }
    if !verdict.verified || !errors.is_empty() {
        return Err(format!("the generator met errors ({})", errors.join(", ")));
    }
    let answer: Answer = serde_json::from_str(line).map_err(unreadable)?;
    let server = answer.server.as_ref();
    let requests = answer.requests as f64;
    let per_request = |value: f64| if answer.requests > 0 { Some(value / requests) } else { None };
    let switches = |server: &Server| (server.voluntary_switches + server.involuntary_switches) as f64;
    Ok(Sample {
        requests,
        per_second: answer.throughput,
        megabytes_per_second: answer.megabytes_per_second,
        cpu_us: server.and_then(|server| per_request(server.cpu_seconds * 1e6)),
        latency: answer.latency_ns.map(|latency| latency.in_us()),
        switches: server.map(switches).and_then(per_request),
        preempted: server.map_or(0.0, |server| server.involuntary_switches as f64 / answer.seconds.max(1e-9)),
        rss_kib: server.map(|server| server.rss_kib as f64),
        generator_busy: answer.generator_share,
        kernel_workers: server.map_or(0, |server| server.kernel_workers),
        memory: answer.memory.map(|memory| Memory {
            user: memory.server_rss.per_connection,
            kernel: memory.kernel_unreclaimable.per_connection,
        }),
    })
}

#[derive(Deserialize)]
struct Verified {
    verified: bool,
    #[serde(default)]
    errors: BTreeMap<String, u64>,
}

#[derive(Deserialize)]
struct Answer {
    seconds: f64,
    requests: u64,
    throughput: f64,
    megabytes_per_second: f64,
    latency_ns: Option<Nanoseconds>,
    generator_share: f64,
    server: Option<Server>,
    memory: Option<Holdings>,
}

#[derive(Deserialize)]
struct Nanoseconds {
    p50: u64,
    p90: u64,
    p99: u64,
    p999: u64,
    max: u64,
}

impl Nanoseconds {
    fn in_us(&self) -> Latency {
        let us = |ns: u64| ns as f64 / 1e3;
        Latency {
            p50: us(self.p50),
            p90: us(self.p90),
            p99: us(self.p99),
            p999: us(self.p999),
            max: us(self.max),
        }
    }
}

#[derive(Deserialize)]
struct Server {
    cpu_seconds: f64,
    voluntary_switches: u64,
    involuntary_switches: u64,
    rss_kib: u64,
    kernel_workers: u64,
}

#[derive(Deserialize)]
struct Holdings {
    server_rss: Held,
    kernel_unreclaimable: Held,
}

#[derive(Deserialize)]
struct Held {
    per_connection: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANSWER: &str = r#"{"mode":"echo","seconds":2.0,"requests":1000,"throughput":500.0,"bytes":64000,
        "megabytes_per_second":0.03,"latency_ns":{"p50":1000,"p90":1500,"p99":2000,"p999":3000,"max":4000},
        "generator_share":0.5,"verified":true,"errors":{},"server":{"cpu_seconds":0.004,"cpu_share":0.002,
        "voluntary_switches":10,"involuntary_switches":40,"rss_kib":7,"kernel_workers":0},"memory":null}"#;

    #[test]
    fn an_answer_reads_as_figures_per_request() {
        let sample = parse(&ANSWER.replace('\n', "")).unwrap();
        assert_eq!(sample.cpu_us, Some(4.0));
        assert_eq!(sample.switches, Some(0.05));
        assert_eq!(sample.latency.unwrap().p99.to_bits(), 2.0_f64.to_bits());
        assert!((sample.preempted - 20.0).abs() < 1e-9);
    }

    #[test]
    fn a_wrong_byte_is_an_error_that_says_so() {
        let text = r#"{"mode":"echo","verified":false,"errors":{"payload":3}}"#;
        assert_eq!(parse(text).unwrap_err(), "payload did not verify (payload: 3)");
        let text = r#"{"mode":"echo","verified":false,"errors":{"reset":1}}"#;
        assert_eq!(parse(text).unwrap_err(), "the generator met errors (reset: 1)");
    }

    #[test]
    fn what_is_no_answer_is_an_error() {
        assert!(parse("Segmentation fault").unwrap_err().contains("cannot be read"));
    }
}
