//! A runtime in a forked child: it says so, and touches nothing of its parent.

#![expect(unsafe_code, reason = "forks, which no safe wrapper offers")]

mod support;

use std::panic::{AssertUnwindSafe, catch_unwind};

use coronet::net::{TcpListener, TcpStream};
use coronet::{JoinHandle, Runtime};
use support::runtime_or_skip;

/// How a child that does `work` ends: 0 if that is true.
fn in_child(work: impl FnOnce() -> bool) -> i32 {
    // SAFETY: [fork-exits] the child runs `work` and ends without running destructors
    // or exit handlers of its parent; the C library keeps its allocator usable across a fork.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "{}", std::io::Error::last_os_error());
    if child == 0 {
        let fine = catch_unwind(AssertUnwindSafe(work)).unwrap_or(false);
        // SAFETY: [fork-exits] it ends the child, at once.
        unsafe { libc::_exit(i32::from(!fine)) };
    }
    let mut status = 0;
    // SAFETY: [out-place] `status` outlives the call, and the child is ours.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    status
}

/// A task that waits for a client, whose accept is with the kernel.
fn accepting(runtime: &Runtime, listener: TcpListener) -> JoinHandle<std::io::Result<()>> {
    let mut server = None;
    runtime.block_on(async {
        server = Some(coronet::spawn(async move { listener.accept().await.map(drop) }));
        coronet::task::yield_now().await;
    });
    server.expect("it was spawned")
}

/// The trap: the child has the ring's descriptor and not its memory, so the first entry is a fault.
#[test]
fn a_runtime_panics_in_a_forked_child_and_goes_on_in_the_parent() {
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    // In flight across the fork.
    let server = accepting(&runtime, listener);
    let status = in_child(|| {
        let said = catch_unwind(AssertUnwindSafe(|| runtime.block_on(async {})));
        let text = said.err().and_then(|said| said.downcast::<String>().ok()).unwrap_or_default();
        text.contains("forked child")
    });
    assert_eq!(status, 0, "as wait(2) tells it");
    runtime.block_on(async {
        TcpStream::connect(address).await.unwrap();
        server.await.unwrap().unwrap();
    });
}

#[test]
fn dropping_a_runtime_in_a_forked_child_does_nothing_and_a_new_one_works_there() {
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
    let address = listener.local_addr().unwrap();
    let server = accepting(&runtime, listener);
    let mut mine = Some(runtime);
    let status = in_child(|| {
        drop(mine.take());
        coronet::run(async { coronet::spawn(async { 1 }).await.unwrap() }) == 1
    });
    assert_eq!(status, 0, "as wait(2) tells it");
    mine.expect("the parent's").block_on(async {
        TcpStream::connect(address).await.unwrap();
        server.await.unwrap().unwrap();
    });
}
