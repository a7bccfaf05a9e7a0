//! A test on each backend, on a runtime that has to be at rest afterwards and met no fault.

use std::future::Future;

use coronet::ring::{Stats, current};
use coronet::time::timeout;
use coronet::{Backend, Runtime};

use crate::support::{
    alone, assert_at_rest, assert_descriptors, hang, open_descriptors, runtime_or_skip, settle, skip,
};

/// Runs `test` on io_uring and on epoll. Afterwards nothing is left, and the kernel met no freed memory.
#[track_caller]
pub(crate) fn on_each_backend<F: Future<Output = ()>>(test: impl Fn() -> F) {
    let _alone = alone();
    for backend in [Backend::Uring, Backend::Epoll] {
        let before = open_descriptors();
        let Some(runtime) = runtime(backend) else { continue };
        let stats = runtime.block_on(async {
            timeout(hang(), test()).await.expect("the test does not hang");
            settle().await;
            current().handle().stats()
        });
        assert_no_fault(&stats);
        assert_at_rest(&runtime.metrics());
        drop(runtime);
        assert_descriptors(before);
    }
}

/// A runtime on this backend, or `None` and a line that says why.
#[track_caller]
pub(crate) fn runtime(backend: Backend) -> Option<Runtime> {
    if backend == Backend::Uring && std::env::var("CORONET_BACKEND").is_ok_and(|backend| backend == "epoll") {
        skip("needs io_uring: CORONET_BACKEND leaves it out");
        return None;
    }
    runtime_or_skip(Runtime::builder().backend(backend))
}

#[track_caller]
pub(crate) fn assert_no_fault(stats: &Stats) {
    assert_eq!((stats.faulted, stats.stale), (0, 0), "the kernel met memory that was freed: {stats:?}");
}
