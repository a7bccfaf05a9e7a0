//! From measurements to rows: paired ratios, medians, spreads, warnings.

use serde::Serialize;

use crate::Measurement;
use crate::case::Case;
use crate::child::Contestant;

/// Being made to wait this often per second means that the server shared its CPU.
const PREEMPTIONS_PER_SECOND_MAX: f64 = 100.0;

/// A median with the smallest and the largest value.
#[derive(Clone, Copy, Debug, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// One server in one case.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) case: String,
    pub(crate) server: String,
    pub(crate) per_second: f64,
    /// Throughput relative to the first server of the same round.
    pub(crate) ratio: Spread,
    pub(crate) cpu_us: f64,
    pub(crate) user_us: f64,
    pub(crate) system_us: f64,
    /// CPU time per message relative to the first server of the same round.
    pub(crate) cpu_ratio: Spread,
    pub(crate) p99_us: f64,
    pub(crate) rss_kib: f64,
    pub(crate) notes: Vec<String>,
}

/// One row per case and server.
pub(crate) fn summarize(cases: &[Case], servers: &[Contestant], measurements: &[Measurement]) -> Vec<Row> {
    let mut rows = Vec::new();
    for case in cases {
        let case = case.to_string();
        let of = |server: &str| -> Vec<&Measurement> {
            let matches = |one: &&Measurement| one.case == case && one.server == server;
            measurements.iter().filter(matches).collect()
        };
        let first = of(&servers[0].name);
        rows.extend(servers.iter().map(|server| row(&case, &of(&server.name), &first)));
    }
    rows
}

fn row(case: &str, own: &[&Measurement], first: &[&Measurement]) -> Row {
    let value = |f: fn(&Measurement) -> f64| median(own.iter().map(|one| f(one)).collect());
    Row {
        case: case.to_owned(),
        server: own[0].server.clone(),
        per_second: value(throughput),
        ratio: paired(own, first, throughput),
        cpu_us: value(cpu_us),
        user_us: value(|one| cpu_us(one) * user_share(one)),
        system_us: value(|one| cpu_us(one) * (1.0 - user_share(one))),
        cpu_ratio: paired(own, first, cpu_us),
        p99_us: value(|one| one.report.latency_ns.map_or(f64::NAN, |latency| latency.p99 as f64 / 1e3)),
        rss_kib: value(|one| one.report.server.map_or(0.0, |server| server.rss_kib as f64)),
        notes: notes(own),
    }
}

fn throughput(one: &Measurement) -> f64 {
    one.report.throughput
}

fn cpu_us(one: &Measurement) -> f64 {
    one.report.server.map_or(f64::NAN, |server| server.cpu_us_per_request)
}

fn user_share(one: &Measurement) -> f64 {
    one.report.server.map_or(f64::NAN, |server| server.user_seconds / server.cpu_seconds.max(1e-9))
}

/// The ratio per round, each side being the mean of the round's two measurements.
fn paired(own: &[&Measurement], first: &[&Measurement], f: fn(&Measurement) -> f64) -> Spread {
    let rounds = own.iter().map(|one| one.round).max().map_or(0, |last| last + 1);
    let mean = |side: &[&Measurement], round| {
        let values: Vec<f64> = side.iter().filter(|one| one.round == round).map(|one| f(one)).collect();
        values.iter().sum::<f64>() / values.len() as f64
    };
    let ratios: Vec<f64> = (0..rounds).map(|round| mean(own, round) / mean(first, round)).collect();
    Spread {
        min: ratios.iter().copied().fold(f64::INFINITY, f64::min),
        max: ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        median: median(ratios),
    }
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    if values.len().is_multiple_of(2) {
        f64::midpoint(values[middle - 1], values[middle])
    } else {
        values[middle]
    }
}

fn notes(own: &[&Measurement]) -> Vec<String> {
    let mut notes = Vec::new();
    let all = own.len();
    let mut note = |text: &str, count: usize| {
        if count > 0 {
            notes.push(format!("{text} ({count}/{all})"));
        }
    };
    note("generator-bound", own.iter().filter(|one| one.report.generator_bound).count());
    let busy = own.iter().filter(|one| one.report.generator_share > 0.97);
    note("generator busy", busy.filter(|one| !one.report.generator_bound).count());
    let workers = own.iter().filter_map(|one| one.report.server).filter(|server| server.kernel_workers > 0);
    note("io-wq threads", workers.count());
    let disturbed = own.iter().filter(|one| {
        let switches = one.report.server.map_or(0, |server| server.involuntary_switches);
        switches as f64 / one.report.seconds > PREEMPTIONS_PER_SECOND_MAX
    });
    note("disturbed", disturbed.count());
    notes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_of_an_even_count_is_the_middle() {
        assert!((median(vec![4.0, 1.0, 2.0, 3.0]) - 2.5).abs() < 1e-9);
        assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    }
}
