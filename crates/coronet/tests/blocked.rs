//! A program where io_uring is refused: what it is told. Each test has a filter of its own, which
//! holds for its thread.

mod support;

use std::io;

use coronet::{Backend, Cores, Refusal, Runtime};
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`, on every architecture.
const CALLS: [i64; 3] = [425, 426, 427];
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;
const ENOMEM: u32 = 12;
const BACKEND: &str = "CORONET_BACKEND";
/// Set in a process that runs without that.
const WITHOUT: &str = "CORONET_TEST_WITHOUT_BACKEND";

/// Runs `test` on a thread where these system calls fail.
fn where_refused<T: Send + 'static>(
    calls: &[i64],
    errno: u32,
    test: impl FnOnce() -> T + Send + 'static,
) -> T {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    let tested = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("filters work here");
        test()
    });
    tested.join().expect("no panic")
}

fn uring() -> io::Error {
    Runtime::builder().backend(Backend::Uring).build().expect_err("there is no ring")
}

#[test]
fn who_asks_for_io_uring_gets_the_reason_as_a_type() {
    for (errno, kind) in [
        (EPERM, io::ErrorKind::PermissionDenied),
        (ENOSYS, io::ErrorKind::Unsupported),
        (ENOMEM, io::ErrorKind::OutOfMemory),
    ] {
        let error = where_refused(&CALLS, errno, uring);
        let refusal = Refusal::of(&error).expect("a refusal");
        assert_eq!((error.kind(), refusal.errno), (kind, errno as i32), "{error}");
        assert_eq!(refusal.stage, coronet::ring::backend::Stage::Setup);
    }
}

/// The trap: the ring is there, and nothing that is asked of it happens.
#[test]
fn a_ring_that_cannot_be_entered_is_none() {
    let error = where_refused(&CALLS[1..2], EPERM, uring);
    let refusal = Refusal::of(&error).expect("a refusal");
    if refusal.stage == coronet::ring::backend::Stage::Setup {
        return support::skip(&format!("needs io_uring: {error}"));
    }
    assert_eq!(
        (refusal.stage, refusal.errno),
        (coronet::ring::backend::Stage::Enter, EPERM as i32),
        "{error}"
    );
}

/// True if `CORONET_BACKEND` would decide: then the test `name` has run in a process without it.
fn decided_by_the_environment(name: &str) -> bool {
    let decides = std::env::var_os(BACKEND).is_some();
    if decides {
        let run = support::child(name, (WITHOUT, "1")).env_remove(BACKEND).output().expect("it starts");
        assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
    }
    decides
}

#[test]
fn auto_says_in_one_line_why_there_is_no_ring() {
    if decided_by_the_environment("auto_says_in_one_line_why_there_is_no_ring") {
        return;
    }
    for (errno, says) in [(EPERM, "EPERM"), (ENOSYS, "ENOSYS"), (ENOMEM, "RLIMIT_MEMLOCK")] {
        let line = where_refused(&CALLS, errno, || {
            let runtime = Runtime::builder().build().expect("epoll is there");
            assert_eq!(runtime.block_on(async { coronet::spawn(async { 1 }).await.unwrap() }), 1);
            runtime.backend().to_string()
        });
        assert!(line.starts_with("epoll (") && line.contains(says) && !line.contains('\n'), "{line}");
    }
}

#[test]
fn cores_start_where_there_is_no_ring() {
    if decided_by_the_environment("cores_start_where_there_is_no_ring") {
        return;
    }
    let results = where_refused(&CALLS, EPERM, || {
        // Threads inherit the filter of the one that starts them.
        let running =
            Cores::count(2).pinned(false).start(|core| async move { core.index() }).expect("started");
        running.join().into_iter().map(Result::unwrap).collect::<Vec<_>>()
    });
    assert_eq!(results, [0, 1]);
}
