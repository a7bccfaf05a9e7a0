//! What the template shows: the report in words, in the order of the page.

use std::collections::BTreeMap;

use askama::Template;

use crate::compare::cell::{self, Metric, Workload};
use crate::compare::format;
use crate::compare::html::chart::{self, Bar, Dots, Tone};
use crate::compare::report::{CellReport, Comparison, Entry, Kind, Method, Outcome, Report};
use crate::compare::verdict::Verdict;

/// The whole page.
#[derive(Template)]
#[template(path = "report.html")]
pub(super) struct Page<'report> {
    report: &'report Report,
    losses: Vec<Line<'report>>,
    wins: Vec<Line<'report>>,
    sweeps: Vec<Chart>,
    glance: Glance<'report>,
    cells: Vec<CellView<'report>>,
    missing: Vec<(&'report str, &'report str)>,
    environment: Vec<(&'static str, String)>,
    method: Vec<(&'static str, String)>,
}

/// One outcome.
struct Line<'report> {
    id: &'report str,
    title: &'report str,
    against: &'report str,
    metric: &'static str,
    ratio: String,
    interval: String,
}

/// Everything in one table: cells down, those compared with across.
struct Glance<'report> {
    names: Vec<&'report str>,
    rows: Vec<(&'report CellReport, Vec<Vec<Short>>)>,
}

/// A ratio of Coronet to a row, in as few letters as possible.
struct Short {
    text: String,
    class: &'static str,
}

/// A drawing and what it shows.
struct Chart {
    caption: String,
    svg: String,
}

struct CellView<'report> {
    id: &'report str,
    title: &'report str,
    about: String,
    charts: Vec<Chart>,
    header: Vec<String>,
    rows: Vec<RowView<'report>>,
    noise: Vec<String>,
    repeat: &'report str,
}

struct RowView<'report> {
    name: &'report str,
    ours: bool,
    figures: Vec<(String, &'static str)>,
    remarks: Vec<String>,
    server: &'report str,
    generator: &'report str,
}

impl<'report> Page<'report> {
    /// Words and drawings for everything in `report`.
    pub(super) fn of(report: &'report Report) -> anyhow::Result<Self> {
        let missing = report.rows.iter().filter_map(|row| Some((row.name.as_str(), row.missing.as_deref()?)));
        Ok(Self {
            report,
            losses: report.losses.iter().map(line).collect(),
            wins: report.wins.iter().map(line).collect(),
            sweeps: sweeps(report)?,
            glance: glance(report),
            cells: report.cells.iter().map(|cell| cell_view(report, cell)).collect::<Result<_, _>>()?,
            missing: missing.collect(),
            environment: environment(report),
            method: method(report),
        })
    }

    fn duration(&self) -> String {
        format::minutes(self.report.seconds)
    }
}

fn line(outcome: &Outcome) -> Line<'_> {
    Line {
        id: &outcome.cell,
        title: &outcome.title,
        against: &outcome.against,
        metric: outcome.comparison.metric.words(),
        ratio: format!("{:.2}×", outcome.comparison.ratio),
        interval: format!("{:.2}–{:.2}", outcome.comparison.low, outcome.comparison.high),
    }
}

fn glance(report: &Report) -> Glance<'_> {
    let compared = |row: &&crate::compare::report::Row| {
        matches!(row.kind, Kind::Reference | Kind::Rival) && row.missing.is_none()
    };
    let names: Vec<&str> = report.rows.iter().filter(compared).map(|row| row.name.as_str()).collect();
    let short = |cell: &CellReport, name: &str| -> Vec<Short> {
        let entry = cell.entries.iter().find(|entry| entry.row == name);
        let found = entry.into_iter().flat_map(|entry| &entry.ours_to_this);
        let short = |one: &Comparison| {
            let text = match one.metric {
                Metric::Cpu => format!("CPU {:.2}", one.ratio),
                Metric::Throughput | Metric::P99 | Metric::Memory => format!("{:.2}", one.ratio),
            };
            Short { text, class: class(one.verdict) }
        };
        found.map(short).collect()
    };
    let rows = report.cells.iter().map(|cell| (cell, names.iter().map(|name| short(cell, name)).collect()));
    Glance { rows: rows.collect(), names }
}

fn tone(report: &Report, row: &str) -> Tone {
    match report.kind_of(row) {
        Some(Kind::Ours | Kind::Again | Kind::Variant) => Tone::Ours,
        Some(Kind::Reference) => Tone::Loop,
        Some(Kind::Rival) | None => Tone::Rival,
    }
}

fn cell_view<'report>(
    report: &'report Report,
    cell: &'report CellReport,
) -> anyhow::Result<CellView<'report>> {
    let mut about = Vec::new();
    if let Some(rate) = cell.rate {
        about.push(format!("open loop at {}/s, the same for all", format::count(rate)));
    }
    about.push(match &cell.reference {
        Some(reference) => format!("reference: {reference}"),
        None => "no reference".to_owned(),
    });
    let noise = cell.noise.iter().map(|noise| {
        let floor = (noise.floor - 1.0) * 100.0;
        format!(
            "{} {:.1} % (Coronet against itself: {:.2}–{:.2})",
            noise.metric.words(),
            floor,
            noise.low,
            noise.high
        )
    });
    Ok(CellView {
        id: &cell.id,
        title: &cell.title,
        about: about.join("; "),
        charts: charts(report, cell)?,
        header: header(cell),
        rows: cell.entries.iter().map(|entry| row_view(report, cell, entry)).collect(),
        noise: noise.collect(),
        repeat: &cell.repeat,
    })
}

/// Figures that stand before the verdicts; the others follow, where a phone has to scroll.
const FIRST: usize = 2;

fn header(cell: &CellReport) -> Vec<String> {
    let figures: &[&str] = match cell.workload {
        Workload::Idle => &["user memory each", "kernel memory each"],
        _ => &[
            "throughput",
            "CPU each",
            "p50",
            "p90",
            "p99",
            "p99.9",
            "syscalls each",
            "switches each",
            "memory",
        ],
    };
    let metrics = cell.workload.metrics();
    let reference = metrics.iter().map(|metric| format!("{} to reference", metric.words()));
    let ours = metrics.iter().map(|metric| format!("Coronet's {} to this", metric.words()));
    let (first, rest) = figures.split_at(FIRST);
    let own = |list: &[&str]| list.iter().map(|&text| text.to_owned()).collect::<Vec<_>>();
    own(first).into_iter().chain(ours).chain(own(rest)).chain(reference).collect()
}

fn row_view<'report>(report: &Report, cell: &CellReport, entry: &'report Entry) -> RowView<'report> {
    let metrics = cell.workload.metrics();
    let find = |list: &[Comparison], metric| list.iter().find(|one| one.metric == metric).copied();
    let to_reference = metrics.iter().map(|&metric| match find(&entry.to_reference, metric) {
        Some(one) => (format::ratio(&one), ""),
        None => (String::new(), ""),
    });
    let ours = metrics.iter().map(|&metric| match find(&entry.ours_to_this, metric) {
        Some(one) => (format!("{} {}", format::ratio(&one), one.verdict.words()), class(one.verdict)),
        None => (String::new(), ""),
    });
    let mut shown = figures(cell, entry).into_iter().map(|text| (text, ""));
    let first: Vec<_> = shown.by_ref().take(FIRST).collect();
    let figures = first.into_iter().chain(ours).chain(shown).chain(to_reference).collect();
    RowView {
        name: &entry.row,
        ours: tone(report, &entry.row) == Tone::Ours,
        figures,
        remarks: entry.failed.iter().chain(&entry.withheld).chain(&entry.notes).cloned().collect(),
        server: &entry.server_command,
        generator: &entry.generator_command,
    }
}

fn class(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Win => "win",
        Verdict::Loss => "loss",
        Verdict::WithinNoise | Verdict::Withheld | Verdict::TooFew => "even",
    }
}

fn figures(cell: &CellReport, entry: &Entry) -> Vec<String> {
    let Some(all) = &entry.figures else {
        return vec!["–".to_owned(); header(cell).len() - 2 * cell.workload.metrics().len()];
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".to_owned());
    if cell.workload == Workload::Idle {
        return vec![
            or_dash(all.user_bytes.map(|value| format::bytes(value.median))),
            or_dash(all.kernel_bytes.map(|value| format::bytes(value.median))),
        ];
    }
    let latency = |f: fn(&crate::compare::report::Latency) -> f64| {
        or_dash(all.latency_us.as_ref().map(|latency| format::us(f(latency))))
    };
    vec![
        or_dash(format::throughput(cell.workload, all)),
        or_dash(all.cpu_us.map(|value| format::us(value.median))),
        latency(|latency| latency.p50),
        latency(|latency| latency.p90),
        latency(|latency| latency.p99),
        latency(|latency| latency.p999),
        or_dash(all.syscalls.map(format::three)),
        or_dash(all.switches.map(format::three)),
        or_dash(all.rss_kib.map(|kib| format::bytes(kib * 1024.0))),
    ]
}

fn charts(report: &Report, cell: &CellReport) -> anyhow::Result<Vec<Chart>> {
    let bars = |value: &dyn Fn(&Entry) -> Option<(f64, String)>| -> Vec<Bar> {
        let bar = |entry: &Entry| {
            let (value, figure) = value(entry)?;
            Some(Bar { name: entry.row.clone(), value, figure, tone: tone(report, &entry.row) })
        };
        cell.entries.iter().filter_map(bar).collect()
    };
    let mut charts = Vec::new();
    let mut add = |caption: &str, bars: Vec<Bar>| -> anyhow::Result<()> {
        if !bars.is_empty() {
            charts.push(Chart { caption: caption.to_owned(), svg: chart::bars(&bars)? });
        }
        Ok(())
    };
    let unit = cell.workload.unit();
    if cell.workload != Workload::Latency {
        let throughput = bars(&|entry| {
            let all = entry.figures.as_ref()?;
            let star = if entry.withheld.is_some() { "*" } else { "" };
            let text = format::throughput(cell.workload, all)?;
            Some((
                all.per_second?.median,
                format!("{}{star}", text.trim_end_matches("/s").trim_end_matches(" MB")),
            ))
        });
        let caption = match cell.workload {
            workload if workload.is_one_way() => "Throughput, MB/s; more is better".to_owned(),
            _ => format!("Throughput, {unit}/s; more is better"),
        };
        let bound = throughput.iter().any(|bar| bar.figure.ends_with('*'));
        add(&if bound { format!("{caption} (* generator-bound)") } else { caption }, throughput)?;
    }
    add(
        "Server CPU per request, µs; less is better",
        bars(&|entry| {
            let cpu = entry.figures.as_ref()?.cpu_us?.median;
            Some((cpu, format::three(cpu)))
        }),
    )?;
    add(
        "User memory per idle connection; less is better",
        bars(&|entry| {
            let bytes = entry.figures.as_ref()?.user_bytes?.median;
            Some((bytes.max(0.0), format::bytes(bytes)))
        }),
    )?;
    add(
        "System calls per request; less is better",
        bars(&|entry| {
            let calls = entry.figures.as_ref()?.syscalls?;
            Some((calls, format::three(calls)))
        }),
    )?;
    let dots: Vec<Dots> = cell
        .entries
        .iter()
        .filter_map(|entry| {
            let latency = entry.figures.as_ref()?.latency_us?;
            let values = [latency.p50, latency.p99, latency.p999];
            Some(Dots { name: entry.row.clone(), values, tone: tone(report, &entry.row) })
        })
        .collect();
    if !dots.is_empty() {
        let caption = match cell.rate {
            Some(_) => "Latency at the fixed rate: p50, p99, p99.9; left is better",
            None => "Latency at full load: p50, p99, p99.9; left is better",
        };
        charts.push(Chart { caption: caption.to_owned(), svg: chart::dots(&dots, format::us_axis)? });
    }
    Ok(charts)
}

/// Cells that differ in their connections only, as lines.
fn sweeps(report: &Report) -> anyhow::Result<Vec<Chart>> {
    let mut groups: BTreeMap<_, Vec<&CellReport>> = BTreeMap::new();
    for cell in &report.cells {
        if matches!(cell.workload, Workload::Echo | Workload::Pipelined) {
            groups.entry((cell.workload, cell.pipeline, cell.size)).or_default().push(cell);
        }
    }
    let mut charts = Vec::new();
    for ((workload, pipeline, size), mut cells) in groups.into_iter().filter(|(_, cells)| cells.len() > 1) {
        cells.sort_by_key(|cell| cell.connections);
        let shown = report.rows.iter().filter(|row| row.kind != Kind::Again);
        let lines = (0..).zip(shown).filter_map(|(index, row)| {
            let points: Vec<(f64, f64)> = cells
                .iter()
                .filter_map(|cell| {
                    let entry = cell.entries.iter().find(|entry| entry.row == row.name)?;
                    Some((cell.connections as f64, entry.figures.as_ref()?.per_second?.median))
                })
                .collect();
            let tone = if row.kind == Kind::Ours { Tone::Ours } else { Tone::Line(index) };
            (points.len() > 1).then(|| chart::Line { name: row.name.clone(), points, tone })
        });
        // Ours last, so that no other line covers it.
        let mut lines: Vec<chart::Line> = lines.collect();
        lines.sort_by_key(|line| line.tone == Tone::Ours);
        if lines.is_empty() {
            continue;
        }
        let flight =
            if workload == Workload::Pipelined { format!(", {pipeline} in flight") } else { String::new() };
        charts.push(Chart {
            caption: format!("Echo of {}{flight}: requests/s over connections", cell::long_size(size)),
            svg: chart::lines(&lines, format::count)?,
        });
    }
    Ok(charts)
}

fn environment(report: &Report) -> Vec<(&'static str, String)> {
    let found = &report.environment;
    let virtual_machine = if found.hypervisor { ", a virtual machine" } else { "" };
    vec![
        ("CPU", format!("{}{virtual_machine}", found.cpu)),
        ("CPUs allowed", found.cpus.to_string()),
        ("Kernel", format!("Linux {}", found.kernel)),
        ("Memory", format!("{} MiB", found.memory_mib)),
        ("Frequency governor", found.governor.clone()),
        ("Load average before", found.load_average.clone()),
        ("Congestion control", found.congestion.clone()),
        ("Compiler", found.rustc.clone()),
        ("Build", found.flags.clone()),
        ("Coronet", format!("{}, revision {}", report.version, found.revision)),
    ]
}

/// `7`, or `7; 40 in echo-64x50x1`.
fn rounds(method: &Method) -> String {
    let others = method.rounds_of.iter().map(|(cell, rounds)| format!("; {rounds} in {cell}"));
    std::iter::once(method.rounds.to_string()).chain(others).collect()
}

fn turns(method: &Method) -> String {
    match method.turn {
        Some(turn) => format!(
            "echoes, pipelined or proxied too: servers stand side by side, and a measurement is cut into turns of {:.0} ms, longer with many connections",
            turn * 1e3
        ),
        None => "none: each measurement has a server of its own".to_owned(),
    }
}

fn method(report: &Report) -> Vec<(&'static str, String)> {
    let method = &report.method;
    let place = |cpu: Option<usize>| cpu.map_or_else(|| "not pinned".to_owned(), |cpu| format!("CPU {cpu}"));
    vec![
        ("Rounds", format!("{}, each measures every row twice, in mirrored order", rounds(method))),
        ("Each measurement", format!("{:.2} s, after {:.2} s of warm-up", method.duration, method.warmup)),
        ("Turns", turns(method)),
        ("Server", place(method.server_cpu)),
        ("Generator", place(method.generator_cpu)),
        (
            "Intervals",
            format!(
                "{:.0} % bootstrap of the median of paired ratios, seed {:#x}",
                method.confidence * 100.0,
                method.seed
            ),
        ),
        ("System calls", method.syscalls_by.clone()),
    ]
}
