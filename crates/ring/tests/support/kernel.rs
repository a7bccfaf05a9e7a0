//! A backend on the real kernel, or a counted SKIP; and what the tests count in `/proc`.

use std::future::Future;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use coronet_ring::{Config, Driver, MultiOp, OpStream, Preference};

use super::poll;

/// Longer than any test takes on a loaded machine. `CORONET_TEST_SLOWNESS` says how many times slower than
/// that a machine is, for one that is emulated.
pub fn patience() -> Duration {
    let slowness = std::env::var("CORONET_TEST_SLOWNESS").ok().and_then(|times| times.parse().ok());
    Duration::from_secs(20) * slowness.unwrap_or(1)
}

static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Says that a test could not run; a failure if the environment requires that it does.
pub fn skip(name: &str, reason: impl std::fmt::Display) {
    assert!(std::env::var("CORONET_REQUIRE").as_deref() != Ok("uring"), "SKIP {name}: {reason}");
    let count = SKIPPED.fetch_add(1, Ordering::SeqCst) + 1;
    // Past the capture of the test harness, to be counted; in one piece, as other threads speak, too.
    let _ = std::io::stderr().write_all(format!("SKIP {name}: {reason} ({count} so far)\n").as_bytes());
}

/// A driver on this backend, or `None` and a line that says why.
pub fn open(backend: Preference, name: &str, entries: u32) -> Option<Driver> {
    let config = Config { backend, entries, drain_timeout: patience(), ..Config::default() };
    match Driver::new(config) {
        Ok(driver) => Some(driver),
        Err(error) if backend == Preference::Uring => {
            skip(name, format_args!("needs io_uring: {error}"));
            None
        }
        Err(error) => panic!("{backend:?} runs everywhere: {error}"),
    }
}

/// True if the driver has these capabilities, else a line that names those it lacks.
pub fn can(driver: &Driver, name: &str, needed: &[&str]) -> bool {
    let mut lacking = Vec::new();
    for capability in driver.handle().capabilities().each() {
        if needed.contains(&capability.name) && !capability.there {
            lacking.push(capability.name);
        }
    }
    if !lacking.is_empty() {
        skip(name, format_args!("needs {}", lacking.join(", ")));
    }
    lacking.is_empty()
}

/// Turns the driver until `ready` says so.
#[track_caller]
pub fn turn_until(driver: &Driver, mut ready: impl FnMut() -> bool) {
    // One at most for each turn: a machine that stops us for a minute makes nobody wait.
    const STEP: Duration = Duration::from_secs(1);
    let mut waited = Duration::ZERO;
    while !ready() {
        assert!(waited < patience(), "nothing came");
        let start = Instant::now();
        driver.turn(Some(STEP)).expect("a turn");
        waited += start.elapsed().min(STEP);
    }
}

/// What the future resolves with.
#[track_caller]
pub fn wait<F: Future + Unpin>(driver: &Driver, mut future: F) -> F::Output {
    let mut output = None;
    turn_until(driver, || {
        if let Poll::Ready(ready) = poll(&mut future) {
            output = Some(ready);
        }
        output.is_some()
    });
    output.expect("it is ready")
}

/// The next item, or `None` after the last.
#[track_caller]
pub fn next<O: MultiOp>(driver: &Driver, stream: &mut OpStream<O>) -> Option<O::Item> {
    let mut output = None;
    turn_until(driver, || {
        if let Poll::Ready(item) = stream.poll_item(&mut Context::from_waker(Waker::noop())) {
            output = Some(item);
        }
        output.is_some()
    });
    output.expect("it is ready")
}

/// Open descriptors of this process.
pub fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").expect("procfs").count()
}

/// Kernel threads that do blocking work for rings of this process.
pub fn workers() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let name = |task: std::io::Result<std::fs::DirEntry>| {
        std::fs::read_to_string(task.ok()?.path().join("comm")).ok()
    };
    tasks.filter_map(name).filter(|name| name.starts_with("iou-wrk")).count()
}

/// True if a thread of this process sleeps in the kernel.
pub fn is_asleep(thread: rustix::thread::Pid) -> bool {
    let path = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    let stat = std::fs::read_to_string(path).expect("procfs");
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}
