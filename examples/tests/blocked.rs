//! The echo server and the proxy where io_uring is refused, as under Docker's default profile, or left out by
//! `CORONET_BACKEND`: they run on epoll, and say why.

mod support;

use std::net::SocketAddr;
use std::process::Child;

use rustix::process::Signal;
use support::proxy::{Echoing, Pattern, Proxy, connect, echo, upstream};
use support::{Echo, example, spawn_filtered};

/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`, on every architecture.
const SETUP: i64 = 425;
const ENTER: i64 = 426;
const REGISTER: i64 = 427;
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

/// What keeps a program from io_uring.
#[derive(Clone, Copy)]
enum By {
    /// These calls fail so.
    Filter(&'static [i64], u32),
    /// `CORONET_BACKEND=epoll`, and no filter.
    Variable,
}

const FORBIDDEN: By = By::Filter(&[SETUP, ENTER, REGISTER], EPERM);
const UNKNOWN: By = By::Filter(&[SETUP, ENTER, REGISTER], ENOSYS);
const NOT_ENTERED: By = By::Filter(&[ENTER], EPERM);

/// The example `name` on two cores.
fn start(name: &str, arguments: &[&str], by: By) -> Child {
    let mut command = example(name);
    command.args(["--listen", "127.0.0.1:0", "--cores", "2"]).args(arguments);
    command.env_remove("CORONET_BACKEND");
    match by {
        By::Filter(calls, errno) => spawn_filtered(command, calls, errno),
        By::Variable => command.env("CORONET_BACKEND", "epoll").spawn().expect("it starts"),
    }
}

/// Clients get back what they send.
fn assert_serves(address: SocketAddr) {
    let pattern = Pattern::new();
    for client in 0..4 {
        let mut stream = connect(address);
        // Each its own bytes: some in one piece, some in more than a buffer has room for.
        for len in [1, 1_000, 100_000] {
            echo(&mut stream, pattern.at(client * 4_321, len)).unwrap();
        }
    }
}

/// Clients through an echo server; the line it printed.
fn echo_line(by: By) -> String {
    let echo = Echo::from(start("echo", &[], by));
    assert_serves(echo.address);
    let line = echo.line.clone();
    echo.signal(Signal::TERM);
    let end = echo.end();
    assert!(end.status.success() && end.stderr.is_empty(), "{}", end.stderr);
    line
}

/// Clients through a proxy; the line it printed.
fn proxy_line(by: By) -> String {
    let (listener, address) = upstream();
    let _upstream = Echoing::start(listener, None);
    let to = address.to_string();
    let proxy = Proxy::from(start("proxy", &["--metrics", "127.0.0.1:0", "--to", &to], by));
    assert_serves(proxy.address);
    assert_eq!(proxy.value("proxy_errors_total", ""), 0.0);
    let line = proxy.line.clone();
    proxy.ends_quietly();
    line
}

#[test]
fn where_io_uring_is_forbidden_they_serve_on_epoll_and_name_eperm() {
    for line in [echo_line(FORBIDDEN), proxy_line(FORBIDDEN)] {
        assert!(
            line.contains(", epoll (io_uring_setup refused with EPERM; ") && line.contains("seccomp"),
            "{line}"
        );
    }
}

#[test]
fn where_io_uring_is_unknown_they_serve_on_epoll_and_name_enosys() {
    for line in [echo_line(UNKNOWN), proxy_line(UNKNOWN)] {
        assert!(line.contains(", epoll (io_uring_setup refused with ENOSYS; "), "{line}");
    }
}

/// The trap: the set-up is allowed, so whoever asks no more believes that there is a ring.
#[test]
fn where_a_ring_may_be_made_and_not_entered_they_serve_on_epoll() {
    for line in [echo_line(NOT_ENTERED), proxy_line(NOT_ENTERED)] {
        let refused = ["io_uring_enter refused with EPERM", "io_uring_setup refused with "];
        assert!(line.contains(", epoll (") && refused.iter().any(|text| line.contains(text)), "{line}");
    }
}

#[test]
fn where_the_environment_asks_for_epoll_they_serve_on_it_and_say_so() {
    for line in [echo_line(By::Variable), proxy_line(By::Variable)] {
        assert!(line.contains(", epoll (as asked for"), "{line}");
    }
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
