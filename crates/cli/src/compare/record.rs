//! What was measured in one cell, and what of it can be compared. Pure.

use crate::compare::cell::{Cell, Metric};
use crate::compare::contestant::{AGAIN, OURS};
use crate::compare::generator::{NOT_VERIFIED, Sample};
use crate::compare::measure::OVERFLOWED;
use crate::compare::report::{CellReport, Comparison, Entry, Figures, Latency, Noise, Spread};
use crate::compare::stats;
use crate::compare::verdict::{self, Verdict};

/// A generator that had work for a larger share of the time may have been the limit.
pub(crate) const GENERATOR_BUSY_MAX: f64 = 0.97;
/// Being made to wait this often per second means that the server shared its CPU, be it with threads of its own.
const PREEMPTIONS_PER_SECOND_MAX: f64 = 300.0;
/// An open loop that reached less of its rate did not keep it.
const RATE_KEPT_MIN: f64 = 0.95;
/// Whom to compare with: the first of these that has figures.
const REFERENCES: [&str; 3] = ["raw-uring", "raw-epoll", "tokio-ct"];

/// One cell while it is measured.
#[derive(Clone, Debug)]
pub(crate) struct Record {
    pub(crate) cell: Cell,
    pub(crate) rate: Option<f64>,
    pub(crate) repeat: String,
    pub(crate) rows: Vec<RowRecord>,
}

/// One row of it.
#[derive(Clone, Debug, Default)]
pub(crate) struct RowRecord {
    pub(crate) name: String,
    /// By pass; rows are compared within a pass.
    pub(crate) samples: Vec<Option<Sample>>,
    pub(crate) failed: Option<String>,
    /// Measurements that gave no sample.
    pub(crate) failures: usize,
    pub(crate) syscalls: Option<f64>,
    pub(crate) notes: Vec<String>,
    pub(crate) server_command: String,
    pub(crate) generator_command: String,
}

impl RowRecord {
    /// Takes note of a measurement that failed. Wrong bytes and an overflow are final; anything else may
    /// be the machine's fault once.
    pub(crate) fn fails(&mut self, why: String) {
        let final_at_once = why.contains(NOT_VERIFIED) || why.contains(OVERFLOWED);
        let never_worked = self.samples.iter().all(Option::is_none);
        if final_at_once || self.failures > 0 || never_worked {
            self.failed = Some(why);
        } else {
            self.notes.push(format!("failed once: {why}"));
        }
        self.failures += 1;
    }

    /// The samples that count: none of a row that failed once, because then nothing it says is trusted.
    fn counted(&self) -> impl Iterator<Item = &Sample> {
        let trusted = self.failed.is_none();
        self.samples.iter().flatten().filter(move |_| trusted)
    }

    fn values(&self, f: impl Fn(&Sample) -> Option<f64>) -> Vec<f64> {
        self.counted().filter_map(f).collect()
    }

    fn median(&self, f: impl Fn(&Sample) -> Option<f64>) -> Option<f64> {
        stats::median(&self.values(f))
    }

    fn generator_bound(&self) -> bool {
        self.median(|one| Some(one.generator_busy)).is_some_and(|busy| busy > GENERATOR_BUSY_MAX)
    }

    /// The median throughput.
    pub(crate) fn per_second(&self) -> Option<f64> {
        self.median(|one| Some(one.per_second))
    }
}

fn value(metric: Metric, sample: &Sample) -> Option<f64> {
    let value = match metric {
        Metric::Throughput => Some(sample.per_second),
        Metric::Cpu => sample.cpu_us,
        Metric::P99 => sample.latency.map(|latency| latency.p99),
        Metric::Memory => sample.memory.map(|memory| memory.user),
    };
    value.filter(|value| value.is_finite() && *value > 0.0)
}

/// The ratios of `first` to `second`, one per pass in which both were measured.
fn paired(first: &RowRecord, second: &RowRecord, metric: Metric) -> Vec<f64> {
    if first.failed.is_some() || second.failed.is_some() {
        return Vec::new();
    }
    let pairs = first.samples.iter().zip(&second.samples);
    let ratio = |(first, second): (&Option<Sample>, &Option<Sample>)| {
        Some(value(metric, first.as_ref()?)? / value(metric, second.as_ref()?)?)
    };
    pairs.filter_map(ratio).collect()
}

impl Record {
    fn row(&self, name: &str) -> Option<&RowRecord> {
        self.rows.iter().find(|row| row.name == name)
    }

    /// The row that the others are shown against.
    fn reference(&self) -> Option<&RowRecord> {
        let has_figures = |row: &&RowRecord| row.counted().next().is_some();
        let preferred = REFERENCES.iter().filter_map(|name| self.row(name)).find(has_figures);
        let other = |row: &&RowRecord| !row.name.starts_with(OURS) && has_figures(row);
        preferred.or_else(|| self.rows.iter().find(other))
    }

    /// Coronet against itself, once per pass.
    fn noise(&self, metric: Metric) -> Vec<f64> {
        match (self.row(AGAIN), self.row(OURS)) {
            (Some(again), Some(ours)) => paired(again, ours, metric),
            _ => Vec::new(),
        }
    }

    fn compare(
        first: &RowRecord,
        second: &RowRecord,
        metric: Metric,
        floor: Option<f64>,
    ) -> Option<Comparison> {
        let ratios = paired(first, second, metric);
        let judged = verdict::judge(&ratios, floor, metric.more_is_better())?;
        let bound = first.generator_bound() || second.generator_bound();
        let verdict = match metric {
            Metric::Throughput if bound => Verdict::Withheld,
            Metric::Throughput | Metric::Cpu | Metric::P99 | Metric::Memory => judged.verdict,
        };
        let (ratio, low, high) = (judged.ratio, judged.low, judged.high);
        Some(Comparison { metric, ratio, low, high, pairs: ratios.len(), verdict })
    }

    /// Everything that this cell says.
    pub(crate) fn report(&self) -> CellReport {
        let metrics = self.cell.workload.metrics();
        let reference = self.reference();
        let ours = self.row(OURS);
        let floors: Vec<(Metric, Option<f64>)> =
            metrics.iter().map(|&metric| (metric, verdict::floor(&self.noise(metric)))).collect();
        let entry = |row: &RowRecord| {
            let against = |first: Option<&RowRecord>, second: Option<&RowRecord>| -> Vec<Comparison> {
                let Some((first, second)) = first.zip(second) else { return Vec::new() };
                if first.name == second.name {
                    return Vec::new();
                }
                floors
                    .iter()
                    .filter_map(|&(metric, floor)| Self::compare(first, second, metric, floor))
                    .collect()
            };
            Entry {
                row: row.name.clone(),
                figures: figures(row),
                failed: row.failed.clone(),
                withheld: (metrics.contains(&Metric::Throughput) && row.generator_bound()).then(|| {
                    "generator-bound: the generator was the limit, so throughput says nothing here".to_owned()
                }),
                notes: self.notes(row),
                to_reference: against(Some(row), reference),
                ours_to_this: against(ours, Some(row)),
                server_command: row.server_command.clone(),
                generator_command: row.generator_command.clone(),
            }
        };
        let noise = |metric: Metric| {
            let ratios = self.noise(metric);
            let interval = stats::bootstrap(&ratios)?;
            let (ratio, low, high) = (interval.median, interval.low, interval.high);
            Some(Noise { metric, ratio, low, high, floor: verdict::floor(&ratios)? })
        };
        CellReport {
            id: self.cell.id(),
            title: self.cell.title(),
            workload: self.cell.workload,
            size: self.cell.size,
            connections: self.cell.connections,
            pipeline: self.cell.pipeline,
            rate: self.rate,
            reference: reference.map(|row| row.name.clone()),
            noise: metrics.iter().filter_map(|&metric| noise(metric)).collect(),
            repeat: self.repeat.clone(),
            entries: self.rows.iter().map(entry).collect(),
        }
    }

    fn notes(&self, row: &RowRecord) -> Vec<String> {
        let mut notes = row.notes.clone();
        let all = row.counted().count();
        let mut note = |text: &str, count: usize| {
            if count > 0 {
                notes.push(format!("{text} ({count} of {all})"));
            }
        };
        note("io-wq threads", row.counted().filter(|one| one.kernel_workers > 0).count());
        if let Some(rate) = self.rate {
            let late = row.counted().filter(|one| one.per_second < rate * RATE_KEPT_MIN).count();
            note("did not keep the rate", late);
        }
        let preempted = row.counted().map(|one| one.preempted).sum::<f64>() / all.max(1) as f64;
        if preempted > PREEMPTIONS_PER_SECOND_MAX {
            notes.push(format!("disturbed: its CPU was taken away {preempted:.0} times per second"));
        }
        notes
    }
}

fn figures(row: &RowRecord) -> Option<Figures> {
    row.counted().next()?;
    let spread = |f: fn(&Sample) -> Option<f64>| {
        let values = row.values(f);
        let (min, max) = stats::extremes(&values)?;
        Some(Spread { median: stats::median(&values)?, min, max })
    };
    let latency = |f: fn(&Latency) -> f64| row.median(|one| one.latency.as_ref().map(f));
    let latency_us = || {
        Some(Latency {
            p50: latency(|one| one.p50)?,
            p90: latency(|one| one.p90)?,
            p99: latency(|one| one.p99)?,
            p999: latency(|one| one.p999)?,
            max: latency(|one| one.max)?,
        })
    };
    let is_idle = row.counted().any(|one| one.memory.is_some());
    let timed = |value: Option<f64>| value.filter(|_| !is_idle);
    Some(Figures {
        samples: row.counted().count(),
        per_second: spread(|one| one.memory.is_none().then_some(one.per_second)),
        megabytes_per_second: timed(row.median(|one| Some(one.megabytes_per_second))),
        cpu_us: spread(|one| if one.memory.is_none() { one.cpu_us } else { None }),
        latency_us: if is_idle { None } else { latency_us() },
        syscalls: row.syscalls,
        switches: timed(row.median(|one| one.switches)),
        rss_kib: row.median(|one| one.rss_kib),
        generator_busy: timed(row.median(|one| Some(one.generator_busy))),
        user_bytes: spread(|one| one.memory.map(|memory| memory.user)),
        kernel_bytes: spread(|one| one.memory.map(|memory| memory.kernel)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell::Workload;

    fn sample(per_second: f64, busy: f64) -> Option<Sample> {
        Some(Sample {
            requests: per_second,
            per_second,
            cpu_us: Some(1e6 / per_second),
            generator_busy: busy,
            ..Sample::default()
        })
    }

    fn row(name: &str, per_second: [f64; 4], busy: f64) -> RowRecord {
        let samples = per_second.iter().map(|&one| sample(one, busy)).collect();
        RowRecord { name: name.to_owned(), samples, ..RowRecord::default() }
    }

    fn record(rows: Vec<RowRecord>) -> CellReport {
        let cell = Cell::new(Workload::Echo, 64, 50, 1);
        Record { cell, rate: None, repeat: String::new(), rows }.report()
    }

    fn entry<'a>(cell: &'a CellReport, name: &str) -> &'a Entry {
        cell.entries.iter().find(|entry| entry.row == name).unwrap()
    }

    fn ours() -> [RowRecord; 2] {
        [row(OURS, [100.0, 110.0, 90.0, 100.0], 0.5), row(AGAIN, [101.0, 109.0, 90.5, 99.0], 0.5)]
    }

    #[test]
    fn ratios_are_taken_within_a_pass_so_a_drift_of_the_machine_cancels() {
        let [ours, again] = ours();
        let cell = record(vec![ours, row("tokio-ct", [80.0, 88.0, 72.0, 80.0], 0.5), again]);
        let entry = entry(&cell, "tokio-ct");
        let throughput = entry.ours_to_this[0];
        assert!((throughput.low - 1.25).abs() < 1e-9 && (throughput.high - 1.25).abs() < 1e-9);
        assert_eq!(throughput.verdict, Verdict::Win);
        assert_eq!(cell.reference.as_deref(), Some("tokio-ct"));
    }

    #[test]
    fn a_generator_at_its_limit_withholds_throughput_and_keeps_cpu() {
        let [ours, again] = ours();
        let cell = record(vec![ours, row("smol", [80.0, 88.0, 72.0, 80.0], 0.98), again]);
        let entry = entry(&cell, "smol");
        assert!(entry.withheld.is_some());
        assert_eq!(entry.ours_to_this[0].verdict, Verdict::Withheld);
        assert_eq!(entry.ours_to_this[1].verdict, Verdict::Win);
    }

    #[test]
    fn a_row_that_failed_once_has_no_figures_and_no_verdict() {
        let [ours, again] = ours();
        let mut wrong = row("smol", [80.0, 88.0, 72.0, 80.0], 0.5);
        wrong.failed = Some("payload did not verify (payload: 1)".to_owned());
        let cell = record(vec![ours, wrong, again]);
        let entry = entry(&cell, "smol");
        assert!(entry.figures.is_none() && entry.ours_to_this.is_empty() && entry.to_reference.is_empty());
        assert_eq!(cell.reference, None);
    }

    #[test]
    fn one_failure_costs_a_pass_two_cost_the_row_and_wrong_bytes_cost_it_at_once() {
        let mut row = row("smol", [80.0; 4], 0.5);
        row.fails("the generator met errors (silent: 1)".to_owned());
        assert!(row.failed.is_none() && row.notes[0].contains("failed once"), "{row:?}");
        row.fails("the generator met errors (reset: 1)".to_owned());
        assert_eq!(row.failed.as_deref(), Some("the generator met errors (reset: 1)"));
        let mut wrong = RowRecord { failed: None, failures: 0, ..row };
        wrong.fails(format!("{NOT_VERIFIED} (payload: 1)"));
        assert!(wrong.failed.is_some());
    }

    #[test]
    fn the_noise_is_ours_against_itself() {
        let [ours, again] = ours();
        let cell = record(vec![ours, again]);
        let noise = &cell.noise[0];
        assert_eq!(noise.metric, Metric::Throughput);
        assert!(noise.floor >= 1.005 && noise.floor < 1.02, "{noise:?}");
    }
}
