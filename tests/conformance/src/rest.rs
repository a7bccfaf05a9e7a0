//! At rest: what has to be true after every promise.

use std::time::Duration;

use coronet::time::sleep;
use coronet::{Metrics, metrics};

/// Waits until nothing is under way but what was at the start, and says if something stays. The kernel may
/// go on with the write of a dropped stream for 30 s, if its peer takes nothing.
pub(crate) async fn reach(start: &Metrics) {
    let mut pause = Duration::from_micros(100);
    let mut waited = Duration::ZERO;
    let is_over = |now: &Metrics| now.in_flight == start.in_flight && now.tasks == start.tasks;
    while !is_over(&metrics()) && waited < Duration::from_secs(45) {
        sleep(pause).await;
        waited += pause;
        pause = (pause * 2).min(Duration::from_secs(1));
    }
    check(start, &metrics());
}

#[track_caller]
fn check(start: &Metrics, end: &Metrics) {
    assert_eq!(end.in_flight, start.in_flight, "operations are still under way: {end:?}");
    assert_eq!(end.submitted, end.completed + end.orphaned + end.in_flight, "the sums differ: {end:?}");
    assert_eq!(end.leased, start.leased, "pooled buffers did not come back: {end:?}");
    assert_eq!((end.leaked, end.faulted), (0, 0), "{end:?}");
    assert_eq!(end.tasks, start.tasks, "tasks are left: {end:?}");
    assert_eq!(end.timers, start.timers, "timers are left: {end:?}");
    check_loans();
}

/// No kernel touched memory after a planted fault "freed" it.
#[track_caller]
pub(crate) fn check_loans() {
    #[cfg(feature = "mutants")]
    assert_eq!(coronet_ring::mutants::touches(), 0, "the kernel touched memory that was freed");
}
