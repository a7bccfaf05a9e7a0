//! A report for people, or as one line of JSON.

use std::collections::BTreeMap;

use coronet_benches::report::{Failure, Held, Load, Memory, Report};

use crate::fault;

/// Prints what was measured.
pub(crate) fn report(report: &Report, json: bool) {
    if json {
        println!("{}", serde_json::to_string(report).expect("a report is plain data"));
        return;
    }
    let Load { mode, connections, size, pipeline, rate } = &report.load;
    match rate {
        Some(rate) => {
            println!("{mode}: {size} bytes x {connections} connections, {rate:.0} per second are due")
        }
        None => println!("{mode}: {size} bytes x {connections} connections x {pipeline} in flight"),
    }
    println!(
        "  {:.0} per second, {:.1} MB/s, in {:.2} s",
        report.throughput, report.megabytes_per_second, report.seconds
    );
    if let Some(latency) = report.latency_ns {
        let us = |ns: u64| ns as f64 / 1e3;
        println!(
            "  latency: p50 {:.1} us, p90 {:.1} us, p99 {:.1} us, p999 {:.1} us, max {:.1} us",
            us(latency.p50),
            us(latency.p90),
            us(latency.p99),
            us(latency.p999),
            us(latency.max)
        );
    }
    if report.outstanding > 0 {
        println!("  {} requests were due and not answered at the end", report.outstanding);
    }
    if let Some(server) = report.server {
        let part = |seconds: f64| server.cpu_us_per_request * seconds / server.cpu_seconds.max(1e-9);
        println!(
            "  server: {:.1} % CPU, {:.3} us per request (user {:.3}, system {:.3})",
            server.cpu_share * 100.0,
            server.cpu_us_per_request,
            part(server.user_seconds),
            part(server.system_seconds)
        );
        println!(
            "  server: {} voluntary and {} involuntary switches, {} KiB resident, {} kernel workers",
            server.voluntary_switches, server.involuntary_switches, server.rss_kib, server.kernel_workers
        );
    }
    if let Some(memory) = &report.memory {
        print_memory(memory);
    }
    let bound = if report.generator_bound { ": generator-bound" } else { "" };
    println!("  generator: {:.1} % busy{bound}", report.generator_share * 100.0);
}

fn print_memory(memory: &Memory) {
    let line = |name: &str, held: Held| {
        println!(
            "  {name}: {:.0} bytes per connection ({} KiB before, {} open, {} after closing)",
            held.per_connection,
            held.before / 1024,
            held.open / 1024,
            held.closed / 1024
        );
    };
    line("server's resident memory", memory.server_rss);
    line("server's share of memory", memory.server_pss);
    line("kernel, both ends", memory.kernel_unreclaimable);
    line("kernel stacks", memory.kernel_stacks);
    for (name, bytes) in &memory.slabs_per_connection {
        println!("    slab {name}: {bytes:.0} bytes per connection");
    }
}

/// Prints why nothing was measured: one line for people, and one for programs if they asked.
pub(crate) fn failure(error: &anyhow::Error, load: Load, json: bool) {
    eprintln!("load: {error:#}");
    if json {
        let errors = BTreeMap::from([(fault::kind(error).to_owned(), 1)]);
        let failure = Failure { load, verified: false, errors };
        println!("{}", serde_json::to_string(&failure).expect("a failure is plain data"));
    }
}
