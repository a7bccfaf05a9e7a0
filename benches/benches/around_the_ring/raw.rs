//! The same operations on a ring without a runtime.

#![allow(unsafe_code, reason = "hands entries to the kernel; none of them names memory")]

use std::time::{Duration, Instant};

use coronet_benches::lane::{Lane, Setup};
use io_uring::opcode;

/// Time of `rounds` empty operations, `batch` per enter.
pub(crate) fn nops(rounds: u64, batch: u64) -> Duration {
    let setup = Setup { entries: 256, completions: 1024, taskrun_flag: false };
    let (mut ring, _) = setup.build().expect("a ring can be had here");
    let (mut lane, mut completions) = Lane::open(&mut ring);
    let passes = rounds.div_ceil(batch);
    let start = Instant::now();
    for pass in 0..passes {
        for n in 0..batch {
            let nop = opcode::Nop::new().build().user_data(pass * batch + n);
            // SAFETY: [bench-lent] the entry names no memory.
            unsafe { lane.push(&nop) }.expect("the queue has room for a batch");
        }
        let mut left = batch;
        while left > 0 {
            lane.enter(left as u32).expect("the kernel is entered");
            completions.sync();
            for completion in &mut completions {
                assert_eq!(completion.result(), 0);
                left -= 1;
            }
        }
    }
    start.elapsed().mul_f64(rounds as f64 / (passes * batch) as f64)
}
