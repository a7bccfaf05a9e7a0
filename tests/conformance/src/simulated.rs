//! Runs promises in the simulated kernel.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use coronet::sim::Sim;

use crate::kernel::Kernel;
use crate::promise::Promise;
use crate::rest;

/// A promise that takes this much simulated time hangs.
const HANG: Duration = Duration::from_secs(4 * 3600);

/// What became of a promise under one seed.
#[derive(Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Why it was broken.
    pub failure: Option<String>,
    /// The name of the run.
    pub trace: u64,
}

/// Runs `promise` under `seed`; `prints` what the kernel did.
pub fn run(promise: &Promise, seed: u64, prints: bool) -> Outcome {
    let sim = Sim::builder(seed).prints_trace(prints).build();
    let promise = *promise;
    let body = async move {
        let start = coronet::metrics();
        let body = promise.start(Kernel::Simulated);
        assert!(coronet::time::timeout(HANG, body).await.is_ok(), "it hangs");
        if !promise.leaves_work() {
            rest::reach(&start).await;
        }
    };
    let result = catch_unwind(AssertUnwindSafe(|| {
        sim.block_on(body);
        let report = sim.report();
        assert_eq!(report.leaked, 0, "operations were not over when their host ended");
        assert!(
            report.descriptors <= promise.leaked_max(),
            "descriptors were left open: {}",
            report.descriptors
        );
        rest::check_loans();
    }));
    let failure = result.err().map(|panic| {
        let text = panic.downcast_ref::<String>().cloned();
        let text = text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string));
        text.unwrap_or_else(|| "a panic without a text".to_owned())
    });
    Outcome { failure, trace: sim.report().trace_hash }
}
