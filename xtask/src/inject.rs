//! `cargo xtask inject`: entering the ring fails on purpose, and signals arrive a thousand times a second.
//!
//! A failed `io_uring_enter` says nothing of what the kernel took; the tests compare every byte, and
//! strace says how often it made one fail.

use std::path::{Path, PathBuf};
use std::{env, fs, process};

use crate::command_line;
use crate::tally::Tally;
use crate::toolchain::succeeds;

/// What `io_uring_enter` may fail with while the ring is fine.
const ERRORS: [&str; 3] = ["EINTR", "EAGAIN", "EBUSY"];
/// Per thread: the first failure, and from one to the next.
const WHEN: &str = "7+13";
/// A server as its users meet it, and sockets within one program.
const TESTS: [(&str, &str); 2] =
    [("echo", "-p coronet-examples --test echo"), ("tcp", "-p coronet --test tcp")];
/// The programs that the tests of the echo server start, which `--test` alone does not build.
const PROGRAMS: &str = "cargo build -p coronet-examples --examples";
const ALARMS: &str = "cargo test -p coronet --test alarms -- --nocapture";

/// Does all runs; true if none failed.
pub(crate) fn run(root: &Path) -> bool {
    if !command_line::run(root, PROGRAMS) {
        return false;
    }
    let mut tally = Tally::default();
    for (name, tests) in TESTS {
        // Built before, so that what is traced is the test.
        let build = format!("cargo test {tests} --no-run");
        if !command_line::run(root, &build) {
            tally.run(name, || (false, "it does not build".to_owned()));
            continue;
        }
        for error in ERRORS {
            let name = format!("{name} {error}");
            match obstacle() {
                Some(reason) => tally.skip(&name, reason),
                None => tally.run(&name, || injected(root, tests, error)),
            }
        }
    }
    tally.run("alarms", || (command_line::run(root, ALARMS), "1000 signals per second".to_owned()));
    tally.finish()
}

/// Why strace cannot be used here, if it cannot.
fn obstacle() -> Option<&'static str> {
    if !succeeds("strace", &["--version"]) {
        Some("no strace; it is a package of that name")
    } else if !succeeds("strace", &["-f", "-qq", "-e", "trace=none", "true"]) {
        Some("strace may not trace here (ptrace is refused)")
    } else {
        None
    }
}

/// One run of the tests with this error; how often it came.
fn injected(root: &Path, tests: &str, error: &str) -> (bool, String) {
    let log = Log::new(error);
    // The filter stops the threads at that one call only, so that all else runs at full speed.
    let line = format!(
        "CORONET_REQUIRE=uring strace -f --seccomp-bpf -qq -o {} -e trace=io_uring_enter -e \
         inject=io_uring_enter:error={error}:when={WHEN} cargo test {tests} -- --test-threads=1",
        log.0.display()
    );
    let fine = command_line::run(root, &line);
    let count = count(&fs::read_to_string(&log.0).unwrap_or_default());
    match count {
        0 => (false, format!("and {error} was never injected")),
        count => (fine, format!("{count} times {error}")),
    }
}

fn count(log: &str) -> usize {
    log.lines().filter(|line| line.ends_with("(INJECTED)")).count()
}

/// A file of strace, gone when it is read.
struct Log(PathBuf);

impl Log {
    fn new(error: &str) -> Self {
        Self(env::temp_dir().join(format!("coronet-inject-{}-{error}", process::id())))
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        // If it is not there, strace has said why.
        let _ = fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_calls_that_were_made_to_fail_are_counted() {
        let log = "7 io_uring_enter(3, 1, 1, 0, NULL, 8) = 1\n\
                   7 io_uring_enter(3, 1, 1, 0, NULL, 8) = -1 EINTR (Interrupted system call) (INJECTED)\n\
                   7 io_uring_enter(3, 1, 1, 0, NULL, 8) = -1 ETIME (Timer expired)\n";
        assert_eq!(count(log), 1);
    }
}
