//! A test under many seeds: what `#[coronet::test(sim)]` expands to.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::sim::{Report, Sim};

/// The variable that names the one seed to run.
const SEED_VARIABLE: &str = "CORONET_SEED";

/// What a test returns: nothing, or a result.
pub trait Verdict {
    /// Why it failed, if it did.
    fn failure(self) -> Option<String>;
}

impl Verdict for () {
    fn failure(self) -> Option<String> {
        None
    }
}

impl<E: std::fmt::Debug> Verdict for Result<(), E> {
    fn failure(self) -> Option<String> {
        self.err().map(|error| format!("the test returned an error: {error:?}"))
    }
}

/// Runs `body` under the seeds from 0 to `seeds`, or under the one that the environment variable
/// `CORONET_SEED` names, with its trace printed. `name` is the path of the test.
///
/// # Panics
/// With the first failure (an operation or a descriptor that is left over is one), after saying by which seed it is found again. Also if the first seed takes
/// two different ways when it is run twice: then something in `body` is not simulated.
#[track_caller]
pub fn test<F>(name: &str, seeds: u64, body: impl Fn() -> F)
where
    F: Future + 'static,
    F::Output: Verdict,
{
    // Without the name of the crate, which the test runner does not know.
    let name = name.split_once("::").map_or(name, |(_, rest)| rest);
    if let Ok(seed) = std::env::var(SEED_VARIABLE) {
        let seed = seed.parse().unwrap_or_else(|_| {
            panic!("environment variable {SEED_VARIABLE} is to be a seed, a number, and not {seed:?}")
        });
        eprintln!("{name} under seed {seed}:");
        return once(name, seed, true, &body);
    }
    for seed in 0..seeds {
        once(name, seed, false, &body);
    }
}

fn once<F>(name: &str, seed: u64, prints: bool, body: &impl Fn() -> F)
where
    F: Future + 'static,
    F::Output: Verdict,
{
    let sim = Sim::builder(seed).prints_trace(prints).build();
    let result = catch_unwind(AssertUnwindSafe(|| {
        if let Some(failure) = sim.block_on(body()).failure() {
            panic!("{failure}");
        }
        let Report { leaked, descriptors, .. } = sim.report();
        assert_eq!(leaked, 0, "operations were not over when their host ended: a cancel was lost");
        assert_eq!(
            descriptors, 0,
            "descriptors were left open: their owner was forgotten, or there was none"
        );
    }));
    let report = sim.report();
    if let Err(panic) = result {
        eprintln!(
            "\n{name} failed under seed {seed}, after {:?} of simulated time (trace {:016x}, {} lines).\n\
             To see it again, with all that the kernel did: CORONET_SEED={seed} cargo test {name}\n",
            report.elapsed, report.trace_hash, report.trace_lines,
        );
        resume_unwind(panic);
    }
    if seed == 0 {
        let again = Sim::new(0);
        let _ = again.block_on(body()).failure();
        assert_eq!(
            (report.trace_hash, report.trace_lines),
            (again.report().trace_hash, again.report().trace_lines),
            "seed 0 took two ways: something in {name} is not simulated (a thread, the system's clock, the \
             order of a HashMap, a random select!), so a failure could not be found again"
        );
    }
}
