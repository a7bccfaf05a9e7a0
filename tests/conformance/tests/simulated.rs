//! Every promise in the simulated kernel, under a few seeds; `cargo xtask storm` runs more.
//!
//! `CORONET_SEED=7 cargo test -p coronet-conformance --test simulated a_sentence` runs one seed again, and
//! prints what the kernel did.

use coronet_conformance::{Promise, simulated, suite};
use libtest_mimic::{Arguments, Failed, Trial};

/// As many as take a few seconds on two cores.
const SEEDS: u64 = 20;

/// Seeds under which a promise was broken once.
const FOUND: [(&str, u64); 6] = [
    ("ordering::a_dropped_write_that_fell_short_is_told_once_before_new_data", 101),
    ("files::a_write_that_is_dropped_runs_to_its_end", 247),
    ("orphan::a_stream_that_is_dropped_sends_the_write_that_was_under_way", 3165),
    ("orphan::a_buffer_lives_until_its_write_is_over_and_no_longer", 4848),
    ("overload::a_slow_reader_bounds_what_is_held_for_it_and_loses_nothing", 581),
    ("overload::a_slow_reader_bounds_what_is_held_for_it_and_loses_nothing", 21483),
];

fn main() {
    let arguments = Arguments::from_args();
    let promises = suite::all().into_iter().filter(|promise| !promise.is_real_only());
    let promises: Vec<_> = promises.collect();
    for (name, _) in FOUND {
        assert!(promises.iter().any(|promise| promise.path() == name), "no promise is named {name}");
    }
    let trials = promises.into_iter().map(|promise| Trial::test(promise.path(), move || hold(&promise)));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}

fn hold(promise: &Promise) -> Result<(), Failed> {
    if let Ok(seed) = std::env::var("CORONET_SEED") {
        let seed = seed.parse().map_err(|_| format!("CORONET_SEED is to be a number, and not {seed:?}"))?;
        return once(promise, seed, true).map(drop);
    }
    let path = promise.path();
    let found = FOUND.iter().filter(|(name, _)| *name == path).map(|(_, seed)| *seed);
    for seed in (0..SEEDS).filter(|seed| promise.runs_under(*seed)).chain(found) {
        let trace = once(promise, seed, false)?;
        if seed == 0 && trace != once(promise, seed, false)? {
            return Err("seed 0 took two ways: something in the body is not simulated".into());
        }
    }
    Ok(())
}

fn once(promise: &Promise, seed: u64, prints: bool) -> Result<u64, Failed> {
    let outcome = simulated::run(promise, seed, prints);
    match outcome.failure {
        None => Ok(outcome.trace),
        Some(failure) => Err(format!(
            "under seed {seed}: {failure}\nTo see it again, with all that the kernel did: \
             CORONET_SEED={seed} cargo test -p coronet-conformance --test simulated {}",
            promise.path()
        )
        .into()),
    }
}
