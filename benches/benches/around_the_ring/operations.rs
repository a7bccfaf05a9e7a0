//! An operation that does nothing, in batches: the way into the ring and back to the task.
//!
//! Beside each row stands the same on a bare ring: what the kernel takes for it.

use std::time::Instant;

use coronet::ring::{self, Nop};

use crate::table::{Row, Table};
use crate::{raw, runtime};

pub(crate) fn measure(table: &mut Table) {
    let ours = ["nop, batch 1", "nop, batch 16", "nop, batch 50"];
    let bare = ["nop, batch 1, bare ring", "nop, batch 16, bare ring", "nop, batch 50, bare ring"];
    for (batch, (ours, bare)) in [1, 16, 50].into_iter().zip(ours.into_iter().zip(bare)) {
        submitted(table, &Row::informative(ours), batch);
        table.measure(&Row::informative(bare), |rounds| raw::nops(rounds, batch));
    }
}

/// Submits a batch, then waits for each of it.
fn submitted(table: &mut Table, row: &Row, batch: u64) {
    let runtime = runtime();
    table.measure(row, |rounds| {
        runtime.block_on(async {
            let context = ring::current();
            let handle = context.handle();
            let mut pending = Vec::with_capacity(batch as usize);
            let passes = rounds.div_ceil(batch);
            let start = Instant::now();
            for _ in 0..passes {
                pending.extend((0..batch).map(|_| handle.submit(Nop)));
                for nop in pending.drain(..) {
                    nop.await.unwrap();
                }
            }
            start.elapsed().mul_f64(rounds as f64 / (passes * batch) as f64)
        })
    });
}
