//! Rows that take turns: their servers all stand, each with a generator that rests until it is asked.
//!
//! What disturbs a shared machine lasts for tenths of a second or longer. Rows that are measured for 20 ms
//! at a time, one right after the other, meet the same disturbance, and their ratio does not show it; a server that is
//! started anew each time has waited too long for that. A server whose turn it is not sleeps.

use std::time::Duration;

use crate::compare::cell::Cell;
use crate::compare::child::{Child, Early};
use crate::compare::contestant::Contestant;
use crate::compare::counters::Rings;
use crate::compare::generator::{self, Sample};
use crate::compare::measure::{Bench, Failure, OVERFLOWED, OVERTIME_MAX, Server};

/// Seconds of one turn, at least: some thousand small messages.
pub(crate) const TURN_MIN: f64 = 0.02;
/// Seconds that one message of each connection may take: a turn has several of them.
const PER_CONNECTION: f64 = 50e-6;
/// Seconds before each turn, to get what slept back into the caches.
const WARMUP: f64 = 0.002;
/// Turns per look at the server's rings.
const TURNS_PER_RING_CHECK: usize = 8;

/// Seconds of one turn in `cell`.
pub(crate) fn seconds(cell: Cell) -> f64 {
    (cell.connections as f64 * PER_CONNECTION).max(TURN_MIN)
}

/// Turns that make up a measurement of `duration` seconds in `cell`; 1 where nobody takes turns.
pub(crate) fn per_measurement(cell: Cell, duration: f64) -> usize {
    if cell.workload.takes_turns() { ((duration / seconds(cell)).round() as usize).max(1) } else { 1 }
}

/// A server that stands, and a generator that is connected to it and rests. Fields end in this order.
pub(crate) struct Standing {
    load: Child,
    rings: Rings,
    server: Server,
    _upstream: Option<Server>,
    /// Answers of the generator that were read.
    answers: usize,
    turn: f64,
}

impl Standing {
    /// Starts `row` for `cell` and lets it warm up for one turn.
    pub(crate) fn start(bench: &Bench<'_>, row: &Contestant, cell: Cell) -> Result<Self, Failure> {
        let (server, upstream, crowded) = bench.start_row(row, cell)?;
        let turn = seconds(cell);
        let bench = Bench { duration: turn, warmup: WARMUP, ..*bench };
        let load = bench.start_generator(cell, &server, None, crowded, true)?;
        let rings = Rings::of(server.child.id());
        let mut standing = Self { load, rings, server, _upstream: upstream, answers: 0, turn };
        standing.answer(&bench)?;
        Ok(standing)
    }

    /// Measures one turn.
    pub(crate) fn take_turn(&mut self, bench: &Bench<'_>) -> Result<Sample, Failure> {
        self.load.say("\n").map_err(|error| Failure::Row(format!("the generator hears nothing: {error}")))?;
        self.answer(bench)
    }

    fn answer(&mut self, bench: &Bench<'_>) -> Result<Sample, Failure> {
        // Nothing runs beside server and generator before the turn is over, but for a look at times.
        let looks = self.answers.is_multiple_of(TURNS_PER_RING_CHECK);
        let half = Duration::from_secs_f64(self.turn / 2.0);
        std::thread::sleep(half);
        if looks && self.rings.overflow() {
            return Err(Failure::Row(OVERFLOWED.to_owned()));
        }
        std::thread::sleep(half);
        let patience = Duration::from_secs_f64(self.turn) + OVERTIME_MAX;
        let (load, nth) = (&mut self.load, self.answers);
        let line = bench.stop.wait_for(patience, || {
            let printed = load.printed();
            // Whole lines only: the end of an answer may not be there yet.
            let whole = &printed[..printed.rfind('\n').map_or(0, |end| end + 1)];
            let line = whole.lines().filter(|line| line.starts_with('{')).nth(nth).map(str::to_owned);
            line.map(Ok).or_else(|| load.ended().map(Err))
        });
        match line {
            Ok(Ok(line)) => {
                self.answers += 1;
                generator::parse(&line).map_err(Failure::Row)
            }
            Ok(Err(_)) => Err(Failure::Row(match self.server.child.ended() {
                Some(end) => format!("the server ended ({end}): {}", self.server.child.first_line()),
                None => format!("the generator failed: {}", self.load.first_line()),
            })),
            Err(Early::Interrupted) => Err(Failure::Interrupted),
            Err(Early::TimedOut) => Err(Failure::Row("the generator did not come to an end".to_owned())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compare::cell::Workload;

    #[test]
    fn a_turn_is_long_enough_for_several_messages_of_each_connection() {
        let turn = |connections| seconds(Cell::new(Workload::Echo, 64, connections, 1));
        assert!((turn(1) - 0.02).abs() < 1e-9 && (turn(4096) - 0.2048).abs() < 1e-9);
    }

    #[test]
    fn a_measurement_is_cut_into_turns_where_rows_take_turns() {
        let turns = |workload, duration| per_measurement(Cell::new(workload, 64, 50, 1), duration);
        assert_eq!(turns(Workload::Echo, 0.15), 8);
        assert_eq!(turns(Workload::Echo, 0.001), 1);
        assert_eq!(turns(Workload::Churn, 10.0), 1);
    }
}
