//! The flow: plan, build, measure, count, report. Whatever ends it early, what was measured is reported.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime};

use crate::compare::build::{Built, Source};
use crate::compare::cell::{Cell, Workload};
use crate::compare::child::{Early, Stop};
use crate::compare::contestant::{ALL, Contestant, GENERATOR, Program, RAW_EPOLL, Start};
use crate::compare::counters::Counting;
use crate::compare::environment;
use crate::compare::format;
use crate::compare::generator::Sample;
use crate::compare::measure::{self, Bench, Failure, Places};
use crate::compare::options::Options;
use crate::compare::plan::Plan;
use crate::compare::progress::Progress;
use crate::compare::record::{Record, RowRecord};
use crate::compare::report::{Kind, Method, Report, Row, SCHEMA};
use crate::compare::stats;
use crate::compare::summary;
use crate::compare::turns::{self, Standing};

/// The share of the slowest row's throughput that latency is measured at.
const RATE_SHARE: f64 = 0.5;

/// Measures what `plan` says, and reports it.
pub(crate) fn run(options: &Options, plan: &Plan, source: &Source, stop: &Stop) -> Report {
    let (started, clock) = (SystemTime::now(), Instant::now());
    let root = match source {
        Source::Workspace(root) => Some(root.as_path()),
        Source::Directory(_) => None,
    };
    let environment = environment::gather(root);
    let (built, built_all) = build(plan, source, stop);
    let counting = if stop.is_asked() { Counting::Nothing } else { Counting::find(stop) };
    let places = Places::here();
    let bench = Bench { built: &built, stop, places, duration: plan.duration, warmup: plan.warmup };
    let mut records = Vec::new();
    let measured_all = built_all && measure(&bench, plan, options, counting, &mut records).is_ok();

    let cells: Vec<_> = records.iter().map(Record::report).collect();
    let rows: Vec<Row> = plan.rows.iter().map(|row| described(row, plan, &built)).collect();
    let found = summary::summarize(&rows, &cells);
    let mut warnings = environment::warnings(&environment);
    warnings.extend(summary::noise_warning(&cells));
    if !plan.left_out.is_empty() {
        let ids: Vec<_> = plan.left_out.iter().map(|cell| cell.id()).collect();
        warnings.push(format!("left out, more than 256 MiB under way: {}", ids.join(", ")));
    }
    Report {
        schema: SCHEMA,
        version: env!("CARGO_PKG_VERSION").to_owned(),
        headline: found.headline,
        partial: !measured_all,
        warnings,
        command: command_line(),
        started: humantime::format_rfc3339_seconds(started).to_string(),
        seconds: clock.elapsed().as_secs_f64(),
        environment,
        method: Method {
            rounds: plan.rounds,
            rounds_of: plan
                .cells
                .iter()
                .map(|&cell| (cell, plan.rounds_for(cell)))
                .filter(|(_, rounds)| *rounds != plan.rounds)
                .map(|(cell, rounds)| (cell.id(), rounds))
                .collect(),
            duration: plan.duration,
            warmup: plan.warmup,
            turn: plan.cells.iter().any(|cell| cell.workload.takes_turns()).then_some(turns::TURN_MIN),
            server_cpu: places.server,
            generator_cpu: places.generator,
            confidence: stats::CONFIDENCE,
            seed: stats::SEED,
            syscalls_by: counting.words().to_owned(),
        },
        rows,
        losses: found.losses,
        wins: found.wins,
        within_noise: found.within_noise,
        withheld: found.withheld,
        cells,
    }
}

/// The programs that `plan` needs, each once, the generator first.
pub(crate) fn programs(plan: &Plan) -> Vec<Program> {
    let mut programs = vec![GENERATOR];
    let mut seen = BTreeSet::from([GENERATOR]);
    let starts = plan.rows.iter().flat_map(|row| starts(plan, row)).map(|start| start.program);
    // A proxy needs something to connect to.
    let upstream =
        plan.cells.iter().any(|cell| cell.workload.behind_the_proxy().is_some()).then_some(RAW_EPOLL);
    programs.extend(starts.chain(upstream).filter(|program| seen.insert(*program)));
    programs
}

/// How `row` is started in each cell that it takes part in.
fn starts(plan: &Plan, row: &Contestant) -> impl Iterator<Item = Start> {
    let cells = plan.cells.iter().filter(|cell| row.does(cell.workload));
    cells.map(|cell| row.start(cell.workload, None))
}

/// Builds; false if it was interrupted.
fn build(plan: &Plan, source: &Source, stop: &Stop) -> (Built, bool) {
    let programs = programs(plan);
    let progress = Progress::new("building", programs.len());
    let mut built = Built::new();
    for program in programs {
        progress.now(program.file);
        match source.get(program, stop, |line| progress.now(&format!("{}: {line}", program.file))) {
            Ok(Ok(path)) => {
                progress.step(program.file);
                built.insert(program, Ok(path));
            }
            Ok(Err(why)) => {
                progress.step(&format!("{}: {why}", program.file));
                built.insert(program, Err(why));
            }
            Err(Early::Interrupted | Early::TimedOut) => return (built, false),
        }
    }
    (built, true)
}

/// Goes through all cells. What was measured before an interrupt is in `records`.
fn measure(
    bench: &Bench<'_>,
    plan: &Plan,
    options: &Options,
    counting: Counting,
    records: &mut Vec<Record>,
) -> Result<(), Failure> {
    let progress = Progress::new("measuring", plan.measurements());
    for &cell in &plan.cells {
        let rows: Vec<&Contestant> = plan.rows_of(cell).collect();
        let rate = match cell.workload {
            Workload::Latency => Some(match options.rate {
                Some(rate) => rate,
                None => match half_of_the_slowest(bench, cell, &rows, records)? {
                    Some(rate) => rate,
                    None => continue,
                },
            }),
            _ => None,
        };
        records.push(empty(bench, plan, cell, rate, &rows));
        let record = records.last_mut().expect("it was just put there");
        if cell.workload.takes_turns() {
            let per_measurement = turns::per_measurement(cell, plan.duration);
            for round in 1..=plan.rounds_for(cell) {
                let place = format!("{cell} {round}/{}", plan.rounds_for(cell));
                take_turns(bench, record, &rows, per_measurement, &progress, &place)?;
            }
        } else {
            start_anew(bench, record, &rows, plan.passes(cell), &progress)?;
        }
        progress.now(&format!("{cell}: counting system calls"));
        for (into, row) in record.rows.iter_mut().zip(rows) {
            if cell.workload == Workload::Idle || into.failed.is_some() {
                continue;
            }
            match bench.count(counting, row, cell, rate) {
                Ok(syscalls) => into.syscalls = syscalls,
                Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                Err(Failure::Row(why)) if why.contains(measure::OVERFLOWED) => into.failed = Some(why),
                Err(Failure::Row(why)) => into.notes.push(why),
            }
        }
    }
    Ok(())
}

/// Mirrored: A B C, then C B A.
fn order(rows: usize, pass: usize) -> Vec<usize> {
    if pass.is_multiple_of(2) { (0..rows).collect() } else { (0..rows).rev().collect() }
}

/// Mirrored too, and another order for each pair of turns: all pairs of rows are as far apart, on average.
fn shuffled(rows: usize, turn: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..rows).collect();
    fastrand::Rng::with_seed(stats::SEED ^ (turn / 2) as u64).shuffle(&mut order);
    if !turn.is_multiple_of(2) {
        order.reverse();
    }
    order
}

/// Measures each row `passes` times, with a server that is started for it.
fn start_anew(
    bench: &Bench<'_>,
    record: &mut Record,
    rows: &[&Contestant],
    passes: usize,
    progress: &Progress,
) -> Result<(), Failure> {
    let mut told = Vec::new();
    for pass in 0..passes {
        for index in order(rows.len(), pass) {
            let (cell, rate) = (record.cell, record.rate);
            let into = &mut record.rows[index];
            let sample = match into.failed {
                Some(_) => None,
                None => one(bench, rows[index], cell, rate, into)?,
            };
            let place = format!("{cell} {}/{passes} {}", pass + 1, rows[index].name);
            match (&sample, &into.failed) {
                (Some(sample), _) => progress.step(&format!("{place}: {}", format::headline_figure(sample))),
                (None, Some(why)) if !told.contains(&rows[index].name) => {
                    progress.note(&format!("{place}: {why}"));
                    progress.skip(1);
                    told.push(rows[index].name);
                }
                (None, _) => progress.skip(1),
            }
            into.samples.push(sample);
        }
    }
    Ok(())
}

/// One round of two measurements for each row, cut into turns.
fn take_turns(
    bench: &Bench<'_>,
    record: &mut Record,
    rows: &[&Contestant],
    per_measurement: usize,
    progress: &Progress,
    place: &str,
) -> Result<(), Failure> {
    let mut standing: Vec<Option<Standing>> = rows.iter().map(|_| None).collect();
    let failed = |into: &mut RowRecord, why: String| {
        progress.note(&format!("{place} {}: {why}", into.name));
        into.fails(why);
    };
    for (index, row) in rows.iter().enumerate() {
        let into = &mut record.rows[index];
        if into.failed.is_some() {
            continue;
        }
        match Standing::start(bench, row, record.cell) {
            Ok(server) => standing[index] = Some(server),
            Err(Failure::Interrupted) => return Err(Failure::Interrupted),
            Err(Failure::Row(why)) => failed(into, why),
        }
    }
    // Orders go on where the last round left off: no two pairs of turns of a cell share one.
    let before = record.rows.first().map_or(0, |row| row.samples.len());
    for turn in 0..2 * per_measurement {
        let measured = (turn + 1).is_multiple_of(per_measurement);
        for index in shuffled(rows.len(), before + turn) {
            let into = &mut record.rows[index];
            let sample = match standing[index].as_mut().map(|server| server.take_turn(bench)) {
                Some(Ok(sample)) => Some(sample),
                Some(Err(Failure::Interrupted)) => return Err(Failure::Interrupted),
                Some(Err(Failure::Row(why))) => {
                    failed(into, why);
                    standing[index] = None;
                    None
                }
                None => None,
            };
            match &sample {
                Some(sample) if measured => {
                    progress.step(&format!("{place} {}: {}", into.name, format::headline_figure(sample)));
                }
                None if measured => progress.skip(1),
                Some(_) | None => {}
            }
            into.samples.push(sample);
        }
    }
    Ok(())
}

fn one(
    bench: &Bench<'_>,
    row: &Contestant,
    cell: Cell,
    rate: Option<f64>,
    into: &mut RowRecord,
) -> Result<Option<Sample>, Failure> {
    match bench.measure(row, cell, rate) {
        Ok(sample) => Ok(Some(sample)),
        Err(Failure::Interrupted) => Err(Failure::Interrupted),
        Err(Failure::Row(why)) => {
            into.fails(why);
            Ok(None)
        }
    }
}

/// A rate that every row can keep: from the closed loop of the same shape, measured now if need be.
fn half_of_the_slowest(
    bench: &Bench<'_>,
    cell: Cell,
    rows: &[&Contestant],
    records: &[Record],
) -> Result<Option<f64>, Failure> {
    let closed = Cell { workload: Workload::Echo, ..cell };
    let mut speeds: Vec<f64> = match records.iter().find(|record| record.cell == closed) {
        Some(record) => record.rows.iter().filter_map(RowRecord::per_second).collect(),
        None => Vec::new(),
    };
    if speeds.is_empty() {
        for row in rows {
            match bench.measure(row, closed, None) {
                Ok(sample) => speeds.push(sample.per_second),
                Err(Failure::Interrupted) => return Err(Failure::Interrupted),
                // It says so in its own cell.
                Err(Failure::Row(_)) => {}
            }
        }
    }
    let slowest = speeds.into_iter().reduce(f64::min);
    Ok(slowest.map(|slowest| (slowest * RATE_SHARE).max(1.0)))
}

fn empty(bench: &Bench<'_>, plan: &Plan, cell: Cell, rate: Option<f64>, rows: &[&Contestant]) -> Record {
    let names: Vec<&str> =
        rows.iter().filter(|row| !matches!(row.kind, Kind::Ours | Kind::Again)).map(|row| row.name).collect();
    let mut repeat = format!(
        "coronet compare --only {cell} --rivals {} --rounds {} --duration {:.3}",
        names.join(","),
        plan.rounds_for(cell),
        plan.duration
    );
    if names.is_empty() {
        repeat = repeat.replace(" --rivals ", "");
    }
    if let Some(rate) = rate {
        repeat.push_str(&format!(" --rate {rate:.0}"));
    }
    let row = |row: &&Contestant| {
        let (server_command, generator_command) = measure::command_lines(bench, row, cell, rate);
        RowRecord { name: row.name.to_owned(), server_command, generator_command, ..RowRecord::default() }
    };
    Record { cell, rate, repeat, rows: rows.iter().map(row).collect() }
}

fn described(row: &Contestant, plan: &Plan, built: &Built) -> Row {
    let results: Vec<_> = starts(plan, row).filter_map(|start| built.get(&start.program)).collect();
    let missing = match results.iter().find_map(|result| result.as_ref().err()) {
        Some(why) if results.iter().all(|result| result.is_err()) => Some(why.clone()),
        _ => None,
    };
    Row { name: row.name.to_owned(), kind: row.kind, about: row.about.to_owned(), missing }
}

fn command_line() -> String {
    let words = std::env::args().skip(1).map(|word| {
        let plain = word.chars().all(|letter| letter.is_alphanumeric() || "/._-+,=%".contains(letter));
        if plain { word } else { format!("'{word}'") }
    });
    std::iter::once("coronet".to_owned()).chain(words).collect::<Vec<_>>().join(" ")
}

/// What would run, for `--list`.
pub(crate) fn listed(plan: &Plan) -> String {
    let mut text = String::from("cells:\n");
    for cell in &plan.cells {
        text.push_str(&format!("  {:24} {}\n", cell.id(), cell.title()));
    }
    for cell in &plan.left_out {
        text.push_str(&format!("  {:24} left out: more than 256 MiB under way\n", cell.id()));
    }
    text.push_str("rows:\n");
    for row in ALL {
        let chosen = plan.rows.iter().any(|one| one.name == row.name);
        let note = if chosen { "" } else { "  (not in this run)" };
        text.push_str(&format!("  {:24} {}{note}\n", row.name, row.about));
    }
    text.push_str(&told(plan));
    text
}

/// The plan in one line.
pub(crate) fn told(plan: &Plan) -> String {
    format!(
        "{}, {}, {} of two measurements, {:.2} s each: about {} of measuring after the builds\n",
        format::counted(plan.cells.len(), "cell"),
        format::counted(plan.rows.len(), "row"),
        format::counted(plan.rounds, "round"),
        plan.duration,
        format::minutes(plan.seconds())
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn turns_come_in_mirrored_pairs_and_each_pair_has_an_order_of_its_own() {
        let (first, mut second) = (shuffled(9, 0), shuffled(9, 1));
        second.reverse();
        assert_eq!(first, second);
        assert_ne!(first, shuffled(9, 2));
        let mut all = first.clone();
        all.sort_unstable();
        assert_eq!(all, (0..9).collect::<Vec<_>>());
    }
}
