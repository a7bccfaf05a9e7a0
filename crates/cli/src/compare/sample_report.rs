//! A report made from synthetic measurements, for tests: a win, a loss, noise, a refused row, a
//! generator at its limit, a sweep, latency, idle connections.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use crate::compare::cell::{Cell, Workload};
use crate::compare::contestant::{AGAIN, ALL, OURS};
use crate::compare::generator::{Memory, Sample};
use crate::compare::record::{Record, RowRecord};
use crate::compare::report::{Environment, Latency, Method, Report, Row, SCHEMA};
use crate::compare::summary;

const NAMES: [&str; 7] = [OURS, "raw-uring", "raw-epoll", "tokio-ct", "monoio", "smol", AGAIN];

/// How a row does in a cell, relative to `OURS`.
fn speed(name: &str, cell: Cell) -> f64 {
    let size = cell.size as f64;
    match name {
        "raw-uring" => 1.06,
        "raw-epoll" => 1.005,
        "tokio-ct" => {
            if cell.size > 4096 {
                1.12
            } else {
                0.86
            }
        }
        "monoio" => 0.95 - size.log2() / 60.0,
        "smol" => 0.62,
        _ => 1.0,
    }
}

fn row(name: &str, cell: Cell, index: usize) -> RowRecord {
    let sample = |pass: usize| {
        // A wobble that differs between rows and repeats exactly.
        let wobble = 1.0 + 0.004 * ((pass * 7 + index * 3) % 5) as f64 - 0.008;
        let drift = 1.0 + 0.02 * pass as f64;
        let per_second = 250_000.0 * drift * wobble * speed(name, cell) / (1.0 + cell.size as f64 / 20_000.0);
        let us = 1e6 * cell.connections as f64 / per_second;
        let idle = cell.workload == Workload::Idle;
        Some(Sample {
            requests: per_second,
            per_second,
            megabytes_per_second: per_second * cell.size as f64 / 1e6,
            cpu_us: (!idle).then_some(0.97e6 / per_second),
            latency: (!idle && !cell.workload.is_one_way()).then_some(Latency {
                p50: us,
                p90: us * 1.3,
                p99: us * 2.1,
                p999: us * 6.0,
                max: us * 15.0,
            }),
            switches: (!idle).then_some(0.01),
            preempted: 3.0,
            rss_kib: Some(4096.0),
            generator_busy: if name == "smol" && cell.workload == Workload::Pipelined { 0.99 } else { 0.7 },
            kernel_workers: 0,
            memory: idle.then_some(Memory { user: 600.0 / speed(name, cell) * wobble, kernel: 2900.0 }),
        })
    };
    RowRecord {
        name: name.to_owned(),
        samples: (0..8).map(sample).collect(),
        failed: (name == "smol" && cell.workload == Workload::Churn)
            .then(|| "payload did not verify (payload: 3)".to_owned()),
        syscalls: (cell.workload != Workload::Idle).then_some(2.0 / (1.0 + 9.0 * speed(name, cell))),
        failures: 0,
        notes: Vec::new(),
        server_command: format!("taskset -c 0 {name} --listen 127.0.0.1:7000"),
        generator_command: "taskset -c 1 load --json --connect 127.0.0.1:7000".to_owned(),
    }
}

/// The report.
pub(crate) fn report() -> Report {
    static REPORT: LazyLock<Report> = LazyLock::new(make);
    REPORT.clone()
}

fn make() -> Report {
    let shapes = [
        (Workload::Echo, 64, 1, 1),
        (Workload::Echo, 64, 50, 1),
        (Workload::Echo, 64, 1000, 1),
        (Workload::Echo, 16 << 10, 8, 1),
        (Workload::Echo, 256 << 10, 4, 1),
        (Workload::Pipelined, 64, 50, 16),
        (Workload::Churn, 64, 50, 1),
        (Workload::Stream, 64 << 10, 4, 1),
        (Workload::Proxy, 64, 50, 1),
        (Workload::Latency, 64, 50, 1),
        (Workload::Idle, 64, 1000, 1),
    ];
    let record = |&(workload, size, connections, pipeline): &(Workload, usize, usize, usize)| {
        let cell = Cell::new(workload, size, connections, pipeline);
        let rows = NAMES.iter().enumerate().map(|(index, name)| row(name, cell, index)).collect();
        let rate = (workload == Workload::Latency).then_some(70_000.0);
        Record { cell, rate, repeat: format!("coronet compare --only {}", cell.id()), rows }.report()
    };
    let cells: Vec<_> = shapes.iter().map(record).collect();
    let missing = |name: &str| match name {
        "glommio" => Some("did not build: error: failed to run custom build command".to_owned()),
        _ => None,
    };
    let shown = ALL.iter().filter(|row| NAMES.contains(&row.name) || missing(row.name).is_some());
    let rows: Vec<Row> = shown
        .map(|row| Row {
            name: row.name.to_owned(),
            kind: row.kind,
            about: row.about.to_owned(),
            missing: missing(row.name),
        })
        .collect();
    let found = summary::summarize(&rows, &cells);
    Report {
        schema: SCHEMA,
        version: "0.1.0".to_owned(),
        headline: found.headline,
        partial: false,
        warnings: vec!["the load average was 3.10 before the start: other programs were running".to_owned()],
        command: "coronet compare".to_owned(),
        started: "2026-01-02T03:04:05Z".to_owned(),
        seconds: 181.5,
        environment: Environment {
            kernel: "6.18.0".to_owned(),
            cpu: "A <CPU> & more".to_owned(),
            cpus: 2,
            governor: "performance".to_owned(),
            hypervisor: true,
            memory_mib: 24_000,
            load_average: "3.10 2.00 1.00".to_owned(),
            rustc: "rustc 1.95.0".to_owned(),
            flags: "release".to_owned(),
            revision: "0123abcd".to_owned(),
            congestion: "cubic".to_owned(),
        },
        method: Method {
            rounds: 4,
            rounds_of: BTreeMap::new(),
            duration: 0.25,
            turn: Some(0.02),
            warmup: 0.06,
            server_cpu: Some(0),
            generator_cpu: Some(1),
            confidence: 0.95,
            seed: 7,
            syscalls_by: "perf stat -e raw_syscalls:sys_enter".to_owned(),
        },
        rows,
        losses: found.losses,
        wins: found.wins,
        within_noise: found.within_noise,
        withheld: found.withheld,
        cells,
    }
}
