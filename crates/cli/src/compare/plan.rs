//! What will run: cells, rows, rounds, seconds; and what that takes. Pure.

use anyhow::bail;

use crate::compare::cell::{Cell, Workload};
use crate::compare::contestant::{AGAIN, ALL, Contestant, OURS};
use crate::compare::options::Options;
use crate::compare::report::Kind;

/// Starting a server, connecting and stopping, in seconds: what a measurement takes beyond its own time.
const OVERHEAD: f64 = 0.06;
/// The share of a measurement's time that comes before it as warm-up.
const WARMUP_SHARE: f64 = 0.25;
/// A shorter measurement holds too few requests of the slow cells.
const DURATION_MIN: f64 = 0.15;
/// A longer one gains less than another round does.
const DURATION_MAX: f64 = 1.0;
/// Seconds of measuring to aim at.
const BUDGET: f64 = 190.0;
const BUDGET_QUICK: f64 = 40.0;
/// What a cell may have under way: more would test the machine's memory.
const IN_FLIGHT_MAX: usize = 256 << 20;

const DEFAULT: &[Cell] = &[
    Cell::new(Workload::Echo, 64, 50, 1),
    Cell::new(Workload::Echo, 64, 1000, 1),
    Cell::new(Workload::Echo, 1 << 10, 50, 1),
    Cell::new(Workload::Echo, 16 << 10, 8, 1),
    Cell::new(Workload::Echo, 256 << 10, 4, 1),
    Cell::new(Workload::Pipelined, 64, 50, 16),
    Cell::new(Workload::Churn, 64, 50, 1),
    Cell::new(Workload::Stream, 64 << 10, 4, 1),
    Cell::new(Workload::Proxy, 64, 50, 1),
    Cell::new(Workload::Relay, 64 << 10, 4, 1),
    Cell::new(Workload::Latency, 64, 50, 1),
    Cell::new(Workload::Idle, 64, 1000, 1),
];

const QUICK: &[Cell] = &[
    Cell::new(Workload::Echo, 64, 50, 1),
    Cell::new(Workload::Echo, 16 << 10, 8, 1),
    Cell::new(Workload::Pipelined, 64, 50, 16),
    Cell::new(Workload::Stream, 64 << 10, 4, 1),
];

const QUICK_ROWS: &[&str] = &["raw-uring", "raw-epoll", "tokio-ct", "monoio"];

/// What will run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) cells: Vec<Cell>,
    pub(crate) rows: Vec<Contestant>,
    pub(crate) rounds: usize,
    /// Cells with other rounds.
    pub(crate) rounds_of: Vec<(Cell, usize)>,
    pub(crate) duration: f64,
    pub(crate) warmup: f64,
    /// Cells of the sweep that are not measured, because of their size.
    pub(crate) left_out: Vec<Cell>,
}

impl Plan {
    /// Chooses what `options` ask for.
    ///
    /// # Errors
    /// A name that nobody has.
    pub(crate) fn of(options: &Options) -> anyhow::Result<Self> {
        let (cells, left_out) = cells(options)?;
        let mut rows = rows(options)?;
        rows.retain(|row| cells.iter().any(|cell| row.does(cell.workload)));
        let rounds_of = rounds_of(options, &cells)?;
        let plan = Self { cells, rows, rounds: 3, rounds_of, duration: DURATION_MIN, warmup: 0.0, left_out };
        Ok(plan.fitted(options))
    }

    /// Chooses rounds and durations: as long as the budget allows, then more rounds.
    fn fitted(mut self, options: &Options) -> Self {
        let budget = if options.quick { BUDGET_QUICK } else { BUDGET };
        let asked = options.rounds.map(|rounds| usize::try_from(rounds).unwrap_or(usize::MAX));
        self.rounds = asked.unwrap_or(if options.quick { 2 } else { 3 });
        let cost = |plan: &Self, duration: f64| plan.measurements() as f64 * slot(duration);
        let fit = |plan: &Self| budget / (plan.measurements().max(1) as f64) - OVERHEAD;
        self.duration = options.duration.unwrap_or_else(|| {
            let longest = fit(&self) / (1.0 + WARMUP_SHARE);
            longest.clamp(DURATION_MIN, DURATION_MAX)
        });
        if asked.is_none() && !options.full && !options.quick {
            while self.rounds < 10 && {
                let more = Self { rounds: self.rounds + 1, ..self.clone() };
                cost(&more, self.duration) <= budget
            } {
                self.rounds += 1;
            }
        }
        if asked.is_none() && !options.quick {
            // Each turn gives a ratio of its own, so these cells have many in fewer rounds.
            let fewer = (self.rounds * 2).div_ceil(3);
            let turning = self.cells.iter().filter(|cell| cell.workload.takes_turns());
            let unasked = turning.filter(|cell| !self.rounds_of.iter().any(|(other, _)| other == *cell));
            self.rounds_of.extend(unasked.map(|&cell| (cell, fewer)).collect::<Vec<_>>());
        }
        self.warmup = self.duration * WARMUP_SHARE;
        self
    }

    /// Measurements, at most: a row that fails in a cell is not measured again there.
    pub(crate) fn measurements(&self) -> usize {
        self.cells.iter().map(|&cell| self.rows_of(cell).count() * self.passes(cell)).sum()
    }

    /// Runs whose system calls are counted, and nothing else: one for each row of each cell.
    fn counted_runs(&self) -> usize {
        self.cells.iter().map(|&cell| self.rows_of(cell).count()).sum()
    }

    /// Who takes part in `cell`.
    pub(crate) fn rows_of(&self, cell: Cell) -> impl Iterator<Item = &Contestant> {
        self.rows.iter().filter(move |row| row.does(cell.workload))
    }

    /// Times that each row of `cell` is measured.
    pub(crate) fn passes(&self, cell: Cell) -> usize {
        2 * self.rounds_for(cell)
    }

    /// Rounds of `cell`.
    pub(crate) fn rounds_for(&self, cell: Cell) -> usize {
        self.rounds_of.iter().find(|(other, _)| *other == cell).map_or(self.rounds, |(_, rounds)| *rounds)
    }

    /// Seconds of measuring to expect.
    pub(crate) fn seconds(&self) -> f64 {
        (self.measurements() + self.counted_runs()) as f64 * slot(self.duration)
    }
}

fn slot(duration: f64) -> f64 {
    OVERHEAD + duration * (1.0 + WARMUP_SHARE)
}

fn rows(options: &Options) -> anyhow::Result<Vec<Contestant>> {
    for name in &options.rivals {
        if !ALL.iter().any(|row| row.name == name) {
            let known: Vec<_> =
                ALL.iter().filter(|row| row.kind != Kind::Again).map(|row| row.name).collect();
            bail!("--rivals: nobody is called {name:?}; there are {}", known.join(", "));
        }
    }
    let wanted = |row: &Contestant| {
        let asked = options.rivals.iter().any(|name| name == row.name);
        match row.kind {
            Kind::Ours | Kind::Again => true,
            Kind::Variant | Kind::Reference | Kind::Rival if !options.rivals.is_empty() => asked,
            Kind::Variant | Kind::Reference | Kind::Rival => !options.quick || QUICK_ROWS.contains(&row.name),
        }
    };
    debug_assert_eq!((ALL[0].name, ALL[1].name), (OURS, AGAIN), "ours come first");
    // Ours and its twin as far apart as the order allows: neighbours agree too well.
    let (ours, mut others): (Vec<_>, Vec<_>) =
        ALL.iter().copied().filter(wanted).partition(|row| row.kind != Kind::Again);
    let mut rows = ours;
    rows.append(&mut others);
    Ok(rows)
}

fn cells(options: &Options) -> anyhow::Result<(Vec<Cell>, Vec<Cell>)> {
    let all = if options.full {
        sweep()
    } else if options.quick {
        QUICK.to_vec()
    } else {
        DEFAULT.to_vec()
    };
    let mut chosen = Vec::new();
    for word in &options.only {
        let in_set = all.iter().filter(|cell| cell.is_called(word));
        let mut found: Vec<Cell> = in_set.copied().collect();
        if found.is_empty() {
            // A cell may be asked for by its name although the chosen set does not have it.
            let by_workload = DEFAULT.iter().copied().filter(|cell| cell.workload.word() == word);
            found = Cell::called(word).into_iter().chain(by_workload).collect();
        }
        if found.is_empty() {
            bail!("--only: {word:?} is no workload and no cell; `coronet compare --list` names them");
        }
        chosen.extend(found.into_iter().filter(|cell| !chosen.contains(cell)).collect::<Vec<_>>());
    }
    if options.only.is_empty() {
        chosen = all;
    }
    Ok(chosen.into_iter().partition(|cell| cell.bytes_in_flight() <= IN_FLIGHT_MAX))
}

/// What `--rounds-of` says about `cells`; the last word on a cell holds.
fn rounds_of(options: &Options, cells: &[Cell]) -> anyhow::Result<Vec<(Cell, usize)>> {
    let mut found = Vec::new();
    for (word, rounds) in options.rounds_of.iter().rev() {
        let called: Vec<_> = cells.iter().filter(|cell| cell.is_called(word)).collect();
        if called.is_empty() {
            bail!("--rounds-of: {word:?} is no workload and no cell of this run; `--list` names them");
        }
        found.extend(called.into_iter().map(|&cell| (cell, *rounds)));
    }
    Ok(found)
}

/// The whole sweep.
fn sweep() -> Vec<Cell> {
    let mut cells = Vec::new();
    for (workload, pipeline) in [(Workload::Echo, 1), (Workload::Pipelined, 16)] {
        for size in [64, 1 << 10, 16 << 10, 256 << 10] {
            for connections in [1, 8, 64, 512, 4096] {
                cells.push(Cell::new(workload, size, connections, pipeline));
            }
        }
    }
    cells.extend([1, 50].map(|connections| Cell::new(Workload::Churn, 64, connections, 1)));
    cells.extend(
        [(1 << 10, 4), (64 << 10, 4), (64 << 10, 64)].map(|(s, c)| Cell::new(Workload::Stream, s, c, 1)),
    );
    cells.extend([(64, 50), (16 << 10, 8)].map(|(s, c)| Cell::new(Workload::Proxy, s, c, 1)));
    cells.push(Cell::new(Workload::Relay, 64 << 10, 4, 1));
    cells.extend([(64, 50), (16 << 10, 8)].map(|(s, c)| Cell::new(Workload::Latency, s, c, 1)));
    cells.push(Cell::new(Workload::Idle, 64, 9000, 1));
    cells
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        options: Options,
    }

    fn plan(words: &str) -> anyhow::Result<Plan> {
        Plan::of(&Line::parse_from(std::iter::once("x").chain(words.split_whitespace())).options)
    }

    #[test]
    fn the_default_takes_about_three_minutes_and_quick_less_than_one() {
        let default = plan("").unwrap().seconds();
        assert!((120.0..=260.0).contains(&default), "{default}");
        let quick = plan("--quick").unwrap().seconds();
        assert!(quick < 60.0, "{quick}");
    }

    #[test]
    fn fewer_rows_get_longer_measurements_and_more_rounds() {
        let (all, few) = (plan("").unwrap(), plan("--rivals tokio-ct").unwrap());
        assert!(few.duration > all.duration && few.seconds() < 260.0, "{few:?}");
        let one = plan("--rivals tokio-ct --only churn").unwrap();
        assert!(one.rounds > all.rounds && one.seconds() < 260.0, "{one:?}");
    }

    #[test]
    fn the_sweep_leaves_out_what_does_not_fit_into_memory_and_says_so() {
        let full = plan("--full").unwrap();
        assert!(full.left_out.contains(&Cell::new(Workload::Pipelined, 256 << 10, 4096, 16)));
        assert!(full.cells.contains(&Cell::new(Workload::Echo, 64, 4096, 1)));
        assert_eq!(plan("--only idle-64x9000x1").unwrap().cells, [Cell::new(Workload::Idle, 64, 9000, 1)]);
    }

    #[test]
    fn a_cell_is_found_by_its_name_in_any_set() {
        let plan = plan("--quick --only echo-64x4096x1,idle").unwrap();
        let ids: Vec<_> = plan.cells.iter().map(|cell| cell.id()).collect();
        assert_eq!(ids, ["echo-64x4096x1", "idle-64x1000x1"]);
    }

    #[test]
    fn an_unknown_name_is_an_error_that_names_it() {
        assert!(plan("--only ecko").unwrap_err().to_string().contains("ecko"));
        assert!(plan("--rivals tokyo").unwrap_err().to_string().contains("tokyo"));
    }

    #[test]
    fn a_cell_can_have_rounds_of_its_own() {
        let plan = plan("--rounds 7 --rounds-of echo=9,echo-64x50x1=40").unwrap();
        let rounds: Vec<_> = plan.cells.iter().take(6).map(|&cell| plan.rounds_for(cell)).collect();
        assert_eq!(rounds, [40, 9, 9, 9, 9, 7]);
        let all_alike = super::tests::plan("--rounds 7").unwrap();
        let more = plan.measurements() - all_alike.measurements();
        let rows = |at: usize| plan.rows_of(plan.cells[at]).count();
        assert_eq!(more, 2 * (33 * rows(0) + 2 * (1..5).map(rows).sum::<usize>()));
        let error = super::tests::plan("--rounds-of ecko=3").unwrap_err().to_string();
        assert!(error.contains("ecko"), "{error}");
    }

    #[test]
    fn ours_is_always_there_twice() {
        let rows = plan("--rivals smol").unwrap().rows;
        assert_eq!(rows.iter().map(|row| row.name).collect::<Vec<_>>(), [OURS, "smol", AGAIN]);
    }
}
