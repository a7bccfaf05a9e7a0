//! This run against an older one. Compared are Coronet's ratios to the reference row, never absolute
//! figures: another day is another machine. Pure, but for reading the file.

use std::fs;
use std::path::Path;

use anyhow::{Context, ensure};

use crate::compare::contestant::OURS;
use crate::compare::report::{CellReport, Comparison, Report, SCHEMA};

/// Reads an older report, as `option` asked for.
pub(crate) fn read(option: &str, path: &Path) -> anyhow::Result<Report> {
    let text = fs::read_to_string(path).with_context(|| format!("{option} {}", path.display()))?;
    let schema = serde_json::from_str::<serde_json::Value>(&text)
        .ok()
        .and_then(|value| value.get("schema").and_then(serde_json::Value::as_u64));
    ensure!(
        schema == Some(u64::from(SCHEMA)),
        "{option} {}: it is no report of schema {SCHEMA}",
        path.display()
    );
    serde_json::from_str(&text).with_context(|| format!("{option} {}", path.display()))
}

/// What a comparison of two reports found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Difference {
    /// One line each; any of them is a failure.
    pub(crate) worse: Vec<String>,
    /// Comparisons that both reports have.
    pub(crate) compared: usize,
    /// Why the two may not be comparable.
    pub(crate) warnings: Vec<String>,
}

/// Finds where Coronet fell by more than `tolerance` (0.05 is 5 %), outside the interval of this run.
pub(crate) fn compare(old: &Report, new: &Report, tolerance: f64) -> Difference {
    let mut found = Difference::default();
    if (&old.environment.kernel, &old.environment.cpu) != (&new.environment.kernel, &new.environment.cpu) {
        found.warnings.push(format!(
            "the baseline comes from another machine: {}, Linux {}",
            old.environment.cpu, old.environment.kernel
        ));
    }
    for cell in &new.cells {
        let Some(before) = old.cells.iter().find(|one| one.id == cell.id) else { continue };
        if before.reference != cell.reference {
            found.warnings.push(format!("{}: the reference row is another one", cell.id));
            continue;
        }
        for now in ratios(cell) {
            let Some(then) = ratios(before).find(|then| then.metric == now.metric) else { continue };
            found.compared += 1;
            if let Some(fall) = fall(then, now).filter(|fall| *fall > tolerance) {
                found.worse.push(format!(
                    "{}: {} fell by {:.1} % against {}: {:.3} before, {:.3} ({:.3} to {:.3}) now",
                    cell.id,
                    now.metric.words(),
                    fall * 100.0,
                    cell.reference.as_deref().unwrap_or("nobody"),
                    then.ratio,
                    now.ratio,
                    now.low,
                    now.high
                ));
            }
        }
    }
    found
}

fn ratios(cell: &CellReport) -> impl Iterator<Item = &Comparison> {
    cell.entries.iter().filter(|entry| entry.row == OURS).flat_map(|entry| &entry.to_reference)
}

/// How much worse `now` is, as a share; `None` if the interval reaches back to `then`.
fn fall(then: &Comparison, now: &Comparison) -> Option<f64> {
    if now.metric.more_is_better() {
        (now.high < then.ratio).then_some(1.0 - now.ratio / then.ratio)
    } else {
        (now.low > then.ratio).then_some(1.0 - then.ratio / now.ratio)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sample_report;

    fn scaled(factor: f64) -> Report {
        let mut report = sample_report::report();
        for entry in report.cells.iter_mut().flat_map(|cell| &mut cell.entries) {
            for one in entry.to_reference.iter_mut().filter(|_| entry.row == OURS) {
                // Better in both directions, or worse in both.
                let factor = if one.metric.more_is_better() { factor } else { 1.0 / factor };
                (one.ratio, one.low, one.high) = (one.ratio * factor, one.ratio * factor, one.ratio * factor);
            }
        }
        report
    }

    #[test]
    fn the_same_report_is_no_worse() {
        let found = compare(&scaled(1.0), &scaled(1.0), 0.05);
        assert!(found.worse.is_empty() && found.compared > 0 && found.warnings.is_empty(), "{found:?}");
    }

    #[test]
    fn a_fall_beyond_the_tolerance_is_found_in_either_direction_of_better() {
        let found = compare(&scaled(1.0), &scaled(0.9), 0.05);
        assert_eq!(found.worse.len(), found.compared, "{found:?}");
        assert!(compare(&scaled(1.0), &scaled(0.97), 0.05).worse.is_empty());
        assert!(compare(&scaled(1.0), &scaled(1.2), 0.05).worse.is_empty());
    }

    #[test]
    fn a_fall_whose_interval_reaches_back_is_noise() {
        let mut now = scaled(0.9);
        for one in now.cells.iter_mut().flat_map(|cell| &mut cell.entries).flat_map(|e| &mut e.to_reference) {
            (one.low, one.high) = (one.low * 0.8, one.high * 1.2);
        }
        assert!(compare(&scaled(1.0), &now, 0.05).worse.is_empty());
    }

    #[test]
    fn another_machine_is_warned_about() {
        let mut other = scaled(1.0);
        other.environment.kernel = "1.0".to_owned();
        assert_eq!(compare(&other, &scaled(1.0), 0.05).warnings.len(), 1);
    }
}
