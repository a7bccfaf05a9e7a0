//! The echo example where io_uring is refused, as under Docker's default profile: it runs on
//! epoll, and says why.

mod support;

use std::io::{Read, Write};

use rustix::process::Signal;
use support::{Echo, example, spawn_filtered};

/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`, on every architecture.
const SETUP: i64 = 425;
const ENTER: i64 = 426;
const REGISTER: i64 = 427;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// Echoes through an echo server under this filter; the line it printed.
fn line_under(calls: &[i64], errno: u32) -> String {
    let mut command = example("echo");
    command.args(["--listen", "127.0.0.1:0", "--cores", "2"]).env_remove("CORONET_BACKEND");
    let echo = Echo::from(spawn_filtered(command, calls, errno));
    for _ in 0..4 {
        let mut client = echo.connect();
        let question = vec![7; 100_000];
        let mut answer = vec![0; question.len()];
        client.write_all(&question).unwrap();
        client.read_exact(&mut answer).unwrap();
        assert!(answer == question);
    }
    let line = echo.line.clone();
    echo.signal(Signal::TERM);
    let end = echo.end();
    assert!(end.status.success() && end.stderr.is_empty(), "{}", end.stderr);
    line
}

#[test]
fn where_io_uring_is_forbidden_it_echoes_on_epoll_and_names_eperm() {
    let line = line_under(&[SETUP, ENTER, REGISTER], EPERM);
    assert!(
        line.contains(", epoll (io_uring_setup refused with EPERM; ") && line.contains("seccomp"),
        "{line}"
    );
}

#[test]
fn where_io_uring_is_unknown_it_echoes_on_epoll_and_names_enosys() {
    let line = line_under(&[SETUP, ENTER, REGISTER], ENOSYS);
    assert!(line.contains(", epoll (io_uring_setup refused with ENOSYS; "), "{line}");
}

/// The trap: the set-up is allowed, so whoever asks no more believes that there is a ring.
#[test]
fn where_a_ring_may_be_made_and_not_entered_it_echoes_on_epoll() {
    let line = line_under(&[ENTER], EPERM);
    let refused = ["io_uring_enter refused with EPERM", "io_uring_setup refused with "];
    assert!(line.contains(", epoll (") && refused.iter().any(|text| line.contains(text)), "{line}");
}

#[test]
fn who_asks_for_io_uring_by_name_is_told_in_one_line_why_not() {
    let mut command = example("echo");
    command.args(["--listen", "127.0.0.1:0", "--backend", "uring"]);
    let output = spawn_filtered(command, &[SETUP, ENTER, REGISTER], EPERM).wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.stdout.is_empty());
    assert!(said.starts_with("echo: io_uring_setup refused with EPERM; "), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
