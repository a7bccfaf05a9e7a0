//! The report: what `report.json` holds, and the only thing that tables and the HTML page are made from.
//!
//! The fields are explained in `docs/REPORT.md`; a test compares their names with that page.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::compare::cell::{Metric, Workload};
use crate::compare::verdict::Verdict;

/// Changes when a field changes its meaning or goes away.
pub(crate) const SCHEMA: u32 = 1;

/// One run of `coronet compare`.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) schema: u32,
    pub(crate) version: String,
    pub(crate) headline: String,
    pub(crate) partial: bool,
    pub(crate) warnings: Vec<String>,
    pub(crate) command: String,
    pub(crate) started: String,
    pub(crate) seconds: f64,
    pub(crate) environment: Environment,
    pub(crate) method: Method,
    pub(crate) rows: Vec<Row>,
    pub(crate) losses: Vec<Outcome>,
    pub(crate) wins: Vec<Outcome>,
    pub(crate) within_noise: usize,
    pub(crate) withheld: usize,
    pub(crate) cells: Vec<CellReport>,
}

/// The machine and the tools.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Environment {
    pub(crate) kernel: String,
    pub(crate) cpu: String,
    pub(crate) cpus: usize,
    pub(crate) governor: String,
    pub(crate) hypervisor: bool,
    pub(crate) memory_mib: u64,
    pub(crate) load_average: String,
    pub(crate) rustc: String,
    pub(crate) flags: String,
    pub(crate) revision: String,
    pub(crate) congestion: String,
}

/// How it was measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Method {
    pub(crate) rounds: usize,
    /// Cells with other rounds, by name.
    #[serde(default)]
    pub(crate) rounds_of: BTreeMap<String, usize>,
    pub(crate) duration: f64,
    pub(crate) warmup: f64,
    /// Seconds of a turn, in cells whose rows take turns. Absent in older reports: nobody took turns.
    #[serde(default)]
    pub(crate) turn: Option<f64>,
    pub(crate) server_cpu: Option<usize>,
    pub(crate) generator_cpu: Option<usize>,
    pub(crate) confidence: f64,
    pub(crate) seed: u64,
    pub(crate) syscalls_by: String,
}

/// One program that was measured, or should have been.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) kind: Kind,
    pub(crate) about: String,
    /// Why it is missing from every cell.
    pub(crate) missing: Option<String>,
}

/// What a row is to the comparison.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kind {
    /// Coronet.
    Ours,
    /// Coronet again: the A/A row, the noise floor.
    Again,
    /// Coronet in another setting.
    Variant,
    /// A loop without a runtime.
    Reference,
    /// Another runtime.
    Rival,
}

/// One cell in which Coronet won or lost against one row.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Outcome {
    pub(crate) cell: String,
    pub(crate) title: String,
    pub(crate) against: String,
    pub(crate) comparison: Comparison,
}

/// One workload in one shape, with all rows.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct CellReport {
    pub(crate) id: String,
    pub(crate) title: String,
    pub(crate) workload: Workload,
    pub(crate) size: usize,
    pub(crate) connections: usize,
    pub(crate) pipeline: usize,
    /// Requests per second asked for, in an open loop.
    pub(crate) rate: Option<f64>,
    pub(crate) reference: Option<String>,
    pub(crate) noise: Vec<Noise>,
    pub(crate) repeat: String,
    pub(crate) entries: Vec<Entry>,
}

/// How far the A/A row strays from itself.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Noise {
    pub(crate) metric: Metric,
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    /// The factor that a difference has to exceed.
    pub(crate) floor: f64,
}

/// One row in one cell.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Entry {
    pub(crate) row: String,
    /// The medians; absent if nothing counts.
    pub(crate) figures: Option<Figures>,
    /// Why there are no figures.
    pub(crate) failed: Option<String>,
    /// Why throughput gives no verdict.
    pub(crate) withheld: Option<String>,
    pub(crate) notes: Vec<String>,
    /// This row relative to the reference row.
    pub(crate) to_reference: Vec<Comparison>,
    /// Coronet relative to this row.
    pub(crate) ours_to_this: Vec<Comparison>,
    pub(crate) server_command: String,
    pub(crate) generator_command: String,
}

/// A paired ratio with its interval and verdict.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Comparison {
    pub(crate) metric: Metric,
    pub(crate) ratio: f64,
    pub(crate) low: f64,
    pub(crate) high: f64,
    pub(crate) pairs: usize,
    pub(crate) verdict: Verdict,
}

/// Medians of one row in one cell.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    pub(crate) samples: usize,
    pub(crate) per_second: Option<Spread>,
    pub(crate) megabytes_per_second: Option<f64>,
    pub(crate) cpu_us: Option<Spread>,
    pub(crate) latency_us: Option<Latency>,
    pub(crate) syscalls: Option<f64>,
    pub(crate) switches: Option<f64>,
    pub(crate) rss_kib: Option<f64>,
    pub(crate) generator_busy: Option<f64>,
    pub(crate) user_bytes: Option<Spread>,
    pub(crate) kernel_bytes: Option<Spread>,
}

/// A median with the extremes.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Percentiles in microseconds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Latency {
    pub(crate) p50: f64,
    pub(crate) p90: f64,
    pub(crate) p99: f64,
    pub(crate) p999: f64,
    pub(crate) max: f64,
}

impl Report {
    /// What a row is, by its name.
    pub(crate) fn kind_of(&self, row: &str) -> Option<Kind> {
        self.rows.iter().find(|one| one.name == row).map(|one| one.kind)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use crate::compare::sample_report;

    fn names(value: &Value, into: &mut BTreeSet<String>) {
        match value {
            Value::Object(fields) => {
                for (name, value) in fields {
                    into.insert(name.clone());
                    names(value, into);
                }
            }
            Value::Array(values) => values.iter().for_each(|value| names(value, into)),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
        }
    }

    #[test]
    fn every_field_is_explained_in_the_documentation() {
        let page = include_str!("../../../../docs/REPORT.md");
        let mut fields = BTreeSet::new();
        names(&serde_json::to_value(sample_report::report()).unwrap(), &mut fields);
        assert!(fields.len() > 60, "{fields:?}");
        for field in fields {
            assert!(page.contains(&format!("`{field}`")), "docs/REPORT.md does not explain `{field}`");
        }
    }
}
