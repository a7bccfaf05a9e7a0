//! The examples that share a process with another runtime or loop, as a stranger meets them, on both backends:
//! they serve, they sleep while nobody asks, they drain, and what they cannot do is one line.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::proxy::until;
use support::{Echo, backend, can_run, example, uninterrupted};

/// Each of the examples, with what it needs beside `--listen`.
const EMBEDDED: [(&str, &[&str]); 2] = [("embed_tokio", &["--status", "127.0.0.1:0"]), ("embed_loop", &[])];
const ALL: [(&str, &[&str]); 4] = [
    EMBEDDED[0],
    EMBEDDED[1],
    ("beside_tokio", &["--cores", "2", "--delay", "1"]),
    ("listen_fds", &["--cores", "2"]),
];

fn start(name: &str, arguments: &[&str], backend: &str) -> Echo {
    let mut command = example(name);
    command.args(["--listen", "127.0.0.1:0", "--backend", backend]).args(arguments);
    Echo::of(command)
}

/// The backends that there are here.
fn backends(test: &str) -> Vec<&'static str> {
    let has_ring = can_run(test) && backend() == "io_uring";
    if !has_ring {
        support::skip(test, "needs io_uring: on epoll only");
    }
    if has_ring { vec!["uring", "epoll"] } else { vec!["epoll"] }
}

#[track_caller]
fn assert_echoes(client: &mut TcpStream) {
    // Capitals, for the example that answers with them.
    client.write_all(b"PING").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"PING");
}

#[test]
fn they_print_one_line_echo_to_many_at_once_and_end_without_a_word() {
    for backend in backends("they_print_one_line_echo_to_many_at_once_and_end_without_a_word") {
        for (name, arguments) in ALL {
            let server = start(name, arguments, backend);
            let chosen = if backend == "uring" { ", io_uring (" } else { ", epoll (as asked for" };
            assert!(server.line.starts_with(name) && server.line.contains(chosen), "{}", server.line);
            let mut clients: Vec<_> = (0..50).map(|_| server.connect()).collect();
            for _ in 0..3 {
                clients.iter_mut().for_each(assert_echoes);
            }
            let question: Vec<u8> = (0..300_000u32).map(|byte| b'A' + (byte % 26) as u8).collect();
            let mut answer = Vec::new();
            let mut stream = server.connect();
            std::thread::scope(|scope| {
                let mut writer = stream.try_clone().unwrap();
                let question = &question;
                scope.spawn(move || {
                    writer.write_all(question).unwrap();
                    writer.shutdown(Shutdown::Write).unwrap();
                });
                stream.read_to_end(&mut answer).unwrap();
            });
            // Answers that were worked on at the same time may come one before the other: none is lost.
            answer.sort_unstable();
            let mut question = question;
            question.sort_unstable();
            assert!(answer == question, "{name}: {} of {} bytes", answer.len(), question.len());
            drop(clients);
            server.signal(Signal::TERM);
            let end = server.end();
            assert_eq!((end.status.code(), &*end.stdout, &*end.stderr), (Some(0), "", ""), "{name}");
        }
    }
}

/// The trap: the socket is accepted by one runtime and served by the other, and only one of them gets turns.
#[test]
fn under_tokio_both_runtimes_make_progress() {
    for backend in backends("under_tokio_both_runtimes_make_progress") {
        let server = start("embed_tokio", &["--status", "127.0.0.1:0"], backend);
        let status = server.line.split("status on ").nth(1).and_then(|rest| rest.split(", ").next());
        let status: std::net::SocketAddr = status.unwrap().parse().unwrap();
        let mut clients = Vec::new();
        for count in 1..=20 {
            let mut client = server.connect();
            assert_echoes(&mut client);
            clients.push(client);
            let mut said = String::new();
            support::proxy::connect(status).read_to_string(&mut said).unwrap();
            assert_eq!(said, format!("{count} connections handed over\n"));
            clients.iter_mut().for_each(assert_echoes);
        }
    }
}

/// The trap: a descriptor that stays readable, or a timer in the past, and the host turns the core for ever. With
/// a connection that has a timer, and one that was served before.
#[test]
fn a_host_that_nobody_asks_for_anything_sleeps() {
    for backend in backends("a_host_that_nobody_asks_for_anything_sleeps") {
        for (name, arguments) in EMBEDDED {
            let server = start(name, arguments, backend);
            let (mut first, mut second) = (server.connect(), server.connect());
            assert_echoes(&mut first);
            assert_echoes(&mut second);
            // A second in which nothing comes: the wait for bytes that nobody sends.
            first.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
            let (ticks, sleeps) = (server.cpu_ticks(), server.sleeps());
            let error = uninterrupted(|| first.read(&mut [0])).expect_err("nothing comes");
            assert!([ErrorKind::WouldBlock, ErrorKind::TimedOut].contains(&error.kind()), "{error}");
            let (ticks, sleeps) = (server.cpu_ticks() - ticks, server.sleeps() - sleeps);
            // A loop that spins has 100 ticks, or tens of thousands of sleeps.
            assert!(ticks < 20, "{name} on {backend}: {ticks} ticks of CPU in an idle second");
            assert!(sleeps < 200, "{name} on {backend}: woke up {sleeps} times in an idle second");
            first.set_read_timeout(Some(support::HANG)).unwrap();
            assert_echoes(&mut first);
            assert_echoes(&mut second);
        }
    }
}

#[test]
fn a_timer_of_the_core_wakes_the_loop() {
    for backend in backends("a_timer_of_the_core_wakes_the_loop") {
        let server = start("embed_loop", &["--idle-timeout", "1"], backend);
        let start = Instant::now();
        let mut quiet = server.connect();
        assert_eq!(uninterrupted(|| quiet.read(&mut [0])).unwrap(), 0, "closed, for it said nothing");
        assert!(start.elapsed() >= Duration::from_millis(900), "{:?}", start.elapsed());
    }
}

#[test]
fn open_connections_may_end_after_sigterm_and_new_ones_are_refused() {
    for backend in backends("open_connections_may_end_after_sigterm_and_new_ones_are_refused") {
        for (name, arguments) in ALL {
            let server = start(name, arguments, backend);
            let mut open = server.connect();
            assert_echoes(&mut open);
            server.signal(Signal::TERM);
            until("it refuses new connections", || {
                TcpStream::connect(server.address)
                    .is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused)
            });
            for _ in 0..3 {
                assert_echoes(&mut open);
            }
            open.shutdown(Shutdown::Write).unwrap();
            assert_eq!(uninterrupted(|| open.read(&mut [0])).unwrap(), 0);
            let end = server.end();
            assert_eq!((end.status.code(), &*end.stdout, &*end.stderr), (Some(0), "", ""), "{name}");
        }
    }
}

#[test]
fn the_drain_deadline_cuts_what_does_not_end() {
    for backend in backends("the_drain_deadline_cuts_what_does_not_end") {
        for (name, arguments) in ALL {
            let server = start(name, &[arguments, &["--drain", "1"]].concat(), backend);
            let mut open = server.connect();
            assert_echoes(&mut open);
            server.signal(Signal::TERM);
            let end = server.end();
            assert_eq!(end.status.code(), Some(0), "{name}");
            assert_eq!(end.stderr, format!("{name}: connections were cut after 1 s\n"));
            let closed = uninterrupted(|| open.read(&mut [0]));
            assert!(closed.is_err() || closed.is_ok_and(|count| count == 0));
        }
    }
}

#[test]
fn what_they_cannot_do_is_one_line() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    for (name, arguments) in ALL {
        let output = example(name).args(["--listen", &address]).args(arguments).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{said}");
        assert!(said.starts_with(&format!("{name}: ")) && said.contains(&address), "{said}");
        assert!(said.ends_with('\n') && said.lines().count() == 1, "{said}");

        let output = example(name).arg("--nonsense").output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("{name}: ")) && said.lines().count() == 1, "{said}");

        let output = example(name).arg("--help").output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success(), "{said}");
        for option in ["--listen", "--backend", "--drain"] {
            assert!(said.contains(option), "{said}");
        }
    }
}
