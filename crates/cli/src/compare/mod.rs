//! `coronet compare`: Coronet, the raw loops and other runtimes, side by side on this machine.
//!
//! Modules are declared top layer first, and use only what stands below them.

mod session;
mod baseline;
mod html;
mod table;
#[cfg(test)]
mod sample_report;
mod summary;
mod record;
mod format;
mod turns;
mod measure;
mod build;
mod plan;
mod options;
mod contestant;
mod counters;
mod generator;
mod child;
mod progress;
mod environment;
mod report;
mod verdict;
mod stats;
mod cell;

use std::fs;
use std::path::Path;
use std::process::ExitCode;

use anyhow::Context;

use self::child::Stop;
use self::plan::Plan;
use self::report::{Kind, Report};
use crate::exit;
pub(crate) use options::Options;

/// Runs the subcommand.
pub(crate) fn run(options: &Options) -> ExitCode {
    let plan = match Plan::of(options) {
        Ok(plan) => plan,
        Err(error) => return exit::usage(&error),
    };
    if options.list {
        print!("{}", session::listed(&plan));
        return ExitCode::SUCCESS;
    }
    let baseline =
        match options.baseline.as_deref().map(|path| baseline::read("--baseline", path)).transpose() {
            Ok(baseline) => baseline,
            Err(error) => return exit::usage(&error),
        };
    if let Some(path) = &options.render {
        return match baseline::read("--render", path) {
            Ok(report) => match leave(options, &report) {
                Ok(()) => conclude(options, &report, baseline.as_ref()),
                Err(error) => exit::failed(&error),
            },
            Err(error) => exit::usage(&error),
        };
    }
    match measured(options, &plan) {
        Ok(report) => conclude(options, &report, baseline.as_ref()),
        Err(error) => exit::failed(&error),
    }
}

fn measured(options: &Options, plan: &Plan) -> anyhow::Result<Report> {
    let source = build::Source::find(options.programs.as_deref())?;
    let stop = Stop::on_signals().context("catch signals")?;
    // Found out now, and not after minutes of measuring.
    fs::create_dir_all(&options.out).with_context(|| format!("--out {}", options.out.display()))?;
    eprint!("{}", session::told(plan));
    let report = session::run(options, plan, &source, &stop);
    leave(options, &report)?;
    Ok(report)
}

/// Writes the two files.
fn leave(options: &Options, report: &Report) -> anyhow::Result<()> {
    fs::create_dir_all(&options.out).with_context(|| format!("--out {}", options.out.display()))?;
    write(&options.out.join("report.json"), &serde_json::to_string_pretty(report)?)?;
    write(&options.out.join("report.html"), &html::render(report)?)
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    fs::write(path, text).with_context(|| format!("write {}", path.display()))
}

fn conclude(options: &Options, report: &Report, baseline: Option<&Report>) -> ExitCode {
    println!("{}", table::render(report));
    println!("The whole report: {}", options.out.join("report.html").display());
    if report.partial {
        return exit::interrupted();
    }
    let ours = report.rows.iter().find(|row| row.kind == Kind::Ours);
    let has_figures = |name: &str| {
        let entries = report.cells.iter().flat_map(|cell| &cell.entries);
        entries.filter(|entry| entry.row == name).any(|entry| entry.figures.is_some())
    };
    if !ours.is_some_and(|row| has_figures(&row.name)) {
        return exit::failed(&anyhow::anyhow!("{}", report.headline));
    }
    let Some(baseline) = baseline else { return ExitCode::SUCCESS };
    let difference = baseline::compare(baseline, report, options.fail_under);
    for warning in &difference.warnings {
        println!("WARNING: {warning}");
    }
    for line in &difference.worse {
        println!("WORSE: {line}");
    }
    println!("baseline: {} of {} comparisons are worse", difference.worse.len(), difference.compared);
    if difference.worse.is_empty() { ExitCode::SUCCESS } else { exit::worse() }
}
