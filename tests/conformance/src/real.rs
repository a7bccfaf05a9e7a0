//! Runs promises on the real kernel.

use std::fs::DirEntry;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use coronet::{Backend, Runtime};

use crate::kernel::Kernel;
use crate::promise::Promise;
use crate::rest;

/// A promise that takes this long hangs.
const HANG: Duration = Duration::from_secs(60);

/// Held by the promise that runs: descriptors are counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());
static SKIPPED: AtomicUsize = AtomicUsize::new(0);

/// Runs `promise` on a runtime of its own; it, and everything it leaves behind, is to be back at the end.
///
/// Without io_uring it prints a SKIP, and counts it; it panics under `CORONET_REQUIRE=uring`.
///
/// # Panics
/// If the promise is broken.
pub fn run(promise: &Promise, kernel: Kernel) {
    let _alone = ALONE.lock().unwrap_or_else(PoisonError::into_inner);
    let before = (open_descriptors(), kernel_workers());
    let promise = *promise;
    // On a thread of its own: the kernel's workers for files live as long as the thread that needed them.
    let ended = std::thread::spawn(move || run_here(&promise, kernel)).join();
    if let Err(panic) = ended {
        std::panic::resume_unwind(panic);
    }
    // A thread of the pool that has just woken the core may hold its unparker for some microseconds more, and
    // the kernel takes its workers down in its own time.
    let start = Instant::now();
    let is_back = || open_descriptors().len() == before.0.len() && kernel_workers() == before.1;
    while !is_back() && start.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    let after = open_descriptors();
    assert_eq!(after.len(), before.0.len(), "descriptors leaked: {after:?}");
    assert_eq!(kernel_workers(), before.1, "workers of the kernel are left");
}

fn run_here(promise: &Promise, kernel: Kernel) {
    let backend = if kernel == Kernel::Epoll { Backend::Epoll } else { Backend::Uring };
    let builder = Runtime::builder().backend(backend).entries(promise.queue_entries());
    let runtime = match builder.build() {
        Ok(runtime) => runtime,
        Err(error) => {
            let required = std::env::var("CORONET_REQUIRE").is_ok_and(|backend| backend == "uring");
            assert!(!required, "io_uring is required: {error}");
            let count = SKIPPED.fetch_add(1, Ordering::Relaxed) + 1;
            // Past the capture of the test harness, to be counted.
            let (kernel, path) = (kernel.name(), promise.path());
            let line = format!("SKIP {kernel}::{path}: needs io_uring: {error} ({count} so far)\n");
            let _ = io::stderr().write_all(line.as_bytes());
            return;
        }
    };
    runtime.block_on(async {
        let start = coronet::metrics();
        let body = coronet::time::timeout(HANG, promise.start(kernel));
        assert!(body.await.is_ok(), "it hangs");
        if !promise.leaves_work() {
            rest::reach(&start).await;
        }
    });
}

/// Threads of this process that the kernel started for a ring.
fn kernel_workers() -> usize {
    let threads = std::fs::read_dir("/proc/self/task").expect("procfs");
    let name = |thread: io::Result<DirEntry>| std::fs::read_to_string(thread.ok()?.path().join("comm")).ok();
    threads.filter_map(name).filter(|name| name.starts_with("iou-")).count()
}

/// Each descriptor and what it is; without the one that lists them.
fn open_descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let named = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let target = std::fs::read_link(&path).ok()?;
        Some(format!("{} {}", path.file_name()?.display(), target.display()))
    });
    named.filter(|line| !line.contains("/proc/")).collect()
}
