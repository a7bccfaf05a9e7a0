//! The report in a terminal: the headline, the losses, one table per cell.

use comfy_table::presets::NOTHING;
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, TableComponent};

use crate::compare::cell::{Metric, Workload};
use crate::compare::contestant::OURS;
use crate::compare::format;
use crate::compare::report::{CellReport, Comparison, Entry, Report};
use crate::compare::summary;

/// Everything that fits.
pub(crate) fn render(report: &Report) -> String {
    let mut text = String::new();
    for cell in &report.cells {
        text.push_str(&format!("\n{} [{}]\n", cell.title, cell.id));
        if let Some(rate) = cell.rate {
            text.push_str(&format!("open loop, {}/s\n", format::count(rate)));
        }
        text.push_str(&table(cell).to_string());
        text.push('\n');
        for entry in &cell.entries {
            let reasons = entry.failed.iter().chain(&entry.withheld).chain(&entry.notes);
            for reason in reasons {
                text.push_str(&format!("  {}: {reason}\n", entry.row));
            }
        }
        for noise in &cell.noise {
            let floor = (noise.floor - 1.0) * 100.0;
            text.push_str(&format!("  noise floor, {}: {floor:.1} %\n", noise.metric.words()));
        }
    }
    for row in &report.rows {
        if let Some(why) = &row.missing {
            text.push_str(&format!("\n{}: {why}\n", row.name));
        }
    }
    text.push_str(&format!("\n{}\n", report.headline));
    if !report.losses.is_empty() {
        text.push_str("\nLosses, the worst first:\n");
        for loss in &report.losses {
            text.push_str(&format!("  {}\n", summary::told(loss)));
        }
    }
    for warning in &report.warnings {
        text.push_str(&format!("\nWARNING: {warning}\n"));
    }
    if report.partial {
        text.push_str("\nPARTIAL: the run was interrupted.\n");
    }
    text
}

fn table(cell: &CellReport) -> Table {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    for part in [TableComponent::HeaderLines, TableComponent::MiddleHeaderIntersections] {
        table.set_style(part, '─');
    }
    let first = cell.workload.metrics()[0];
    let figures: &[&str] = match cell.workload {
        Workload::Idle => &["row", "user memory", "kernel memory"],
        _ => &["row", "throughput", "CPU", "p50", "p99", "syscalls"],
    };
    let ours = |metric: Metric| match metric {
        Metric::Throughput => format!("{OURS} / this: throughput"),
        Metric::Cpu => "CPU".to_owned(),
        Metric::P99 => format!("{OURS} / this: p99"),
        Metric::Memory => format!("{OURS} / this: user memory"),
    };
    let mut header: Vec<String> = figures.iter().map(|&word| word.to_owned()).collect();
    header.push(ours(first));
    header.extend(cell.workload.metrics().get(1).map(|&metric| ours(metric)));
    table.set_header(
        header
            .into_iter()
            .enumerate()
            .map(|(index, text)| if index == 0 { Cell::new(text) } else { right(text) }),
    );
    for entry in &cell.entries {
        let mut row = vec![Cell::new(&entry.row)];
        let shown = figures_of(cell, entry);
        row.extend(shown.into_iter().map(|text| right(text.unwrap_or_else(|| "–".to_owned()))));
        row.extend(cell.workload.metrics().iter().map(|&metric| {
            let found = entry.ours_to_this.iter().find(|one| one.metric == metric);
            right(found.map_or_else(String::new, compared))
        }));
        table.add_row(row);
    }
    table
}

fn figures_of(cell: &CellReport, entry: &Entry) -> Vec<Option<String>> {
    let figures = entry.figures.as_ref();
    if cell.workload == Workload::Idle {
        return vec![
            figures.and_then(|all| all.user_bytes).map(|value| format::bytes(value.median)),
            figures.and_then(|all| all.kernel_bytes).map(|value| format::bytes(value.median)),
        ];
    }
    let latency = figures.and_then(|all| all.latency_us);
    vec![
        figures.and_then(|all| format::throughput(cell.workload, all)),
        figures.and_then(|all| all.cpu_us).map(|value| format::us(value.median)),
        latency.map(|latency| format::us(latency.p50)),
        latency.map(|latency| format::us(latency.p99)),
        figures.and_then(|all| all.syscalls).map(format::three),
    ]
}

fn compared(one: &Comparison) -> String {
    format!("{} {}", format::ratio(one), one.verdict.words())
}

fn right(text: String) -> Cell {
    Cell::new(text).set_alignment(CellAlignment::Right)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::sample_report;

    #[test]
    fn the_terminal_shows_every_cell_every_reason_and_the_losses() {
        let report = sample_report::report();
        let text = render(&report);
        for cell in &report.cells {
            assert!(text.contains(&cell.title), "{}", cell.title);
        }
        for reason in ["payload did not verify", "generator-bound", "did not build", "WARNING", "Losses"] {
            assert!(text.contains(reason), "{reason}");
        }
    }
}
