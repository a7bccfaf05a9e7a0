//! The echo example as a stranger meets it: its one line, its bytes, its signals, its errors.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Resource, Signal, getrlimit};
use rustix::thread::CapabilitySet;
use socket2::SockRef;
use support::{Echo, Running, backend, can_run, example, skip, spawn_without};

#[test]
fn it_prints_one_line_with_address_backend_and_cores() {
    if !can_run("it_prints_one_line_with_address_backend_and_cores") {
        return;
    }
    for (arguments, cores) in [(["--cores", "1"], "1 core\n"), (["--cores", "2"], "2 cores\n")] {
        let echo = Echo::start(&arguments);
        assert_ne!(echo.address.port(), 0, "{}", echo.line);
        assert!(
            echo.line.contains(&format!(", {} (", backend())) && echo.line.ends_with(cores),
            "{}",
            echo.line
        );
        echo.signal(Signal::TERM);
        let end = echo.end();
        assert!(end.status.success());
        assert_eq!((&*end.stdout, &*end.stderr), ("", ""), "and nothing else");
    }
}

/// What `printf ... | nc -N` does.
fn ask(mut stream: TcpStream, question: &[u8]) -> Vec<u8> {
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        scope.spawn(move || {
            writer.write_all(question).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut answer).unwrap();
    });
    answer
}

#[test]
fn a_client_that_ends_its_direction_still_gets_everything() {
    if !can_run("a_client_that_ends_its_direction_still_gets_everything") {
        return;
    }
    let echo = Echo::start(&[]);
    assert_eq!(ask(echo.connect(), b"hi"), b"hi");
    assert_eq!(ask(echo.connect(), b""), b"");
    // All of it is written before the first byte is read back.
    let question: Vec<u8> = (0..100_000u32).map(|byte| byte as u8).collect();
    let mut stream = echo.connect();
    stream.write_all(&question).unwrap();
    stream.shutdown(Shutdown::Write).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer == question);
}

#[test]
fn twenty_megabytes_come_back_as_they_were() {
    if !can_run("twenty_megabytes_come_back_as_they_were") {
        return;
    }
    let echo = Echo::start(&["--cores", "1"]);
    let mut state = 1u64;
    let words = std::iter::repeat_with(|| {
        state = state.wrapping_mul(0x5851_F42D_4C95_7F2D).wrapping_add(0x1405_7B7E_F767_814F);
        (state >> 32) as u32
    });
    let question: Vec<u8> = words.take(5_000_000).flat_map(u32::to_le_bytes).collect();
    let answer = ask(echo.connect(), &question);
    assert_eq!(answer.len(), question.len());
    assert!(answer == question, "the same bytes");
}

#[test]
fn two_thousand_asyncio_clients_are_served_at_once() {
    const NAME: &str = "two_thousand_asyncio_clients_are_served_at_once";
    const CLIENTS: usize = 2_000;
    if !can_run(NAME) {
        return;
    }
    if getrlimit(Resource::Nofile).current.is_some_and(|limit| limit < CLIENTS as u64 + 100) {
        return skip(NAME, "ulimit -n is too low");
    }
    let echo = Echo::start(&[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/asyncio_client.py");
    let mut python = Command::new("python3");
    python.args([script, "127.0.0.1", &echo.address.port().to_string(), &CLIENTS.to_string()]);
    let output = match python.output() {
        Ok(output) => output,
        Err(error) => return skip(NAME, &format!("no python3: {error}")),
    };
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout).trim(), CLIENTS.to_string());
}

#[test]
fn a_client_that_resets_costs_one_connection_and_no_word() {
    if !can_run("a_client_that_resets_costs_one_connection_and_no_word") {
        return;
    }
    let echo = Echo::start(&["--cores", "1"]);
    let mut other = echo.connect();
    for _ in 0..20 {
        let mut rude = echo.connect();
        rude.write_all(&[7; 100_000]).unwrap();
        rude.read_exact(&mut [0; 1000]).unwrap();
        SockRef::from(&rude).set_linger(Some(Duration::ZERO)).unwrap();
        drop(rude);
        other.write_all(b"still here").unwrap();
        let mut answer = [0; 10];
        other.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"still here");
    }
    drop(other);
    echo.signal(Signal::TERM);
    let end = echo.end();
    assert!(end.status.success());
    assert_eq!((&*end.stdout, &*end.stderr), ("", ""));
}

#[test]
fn signals_let_open_connections_end_and_refuse_new_ones() {
    if !can_run("signals_let_open_connections_end_and_refuse_new_ones") {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let echo = Echo::start(&["--cores", "2"]);
        let mut open = echo.connect();
        open.write_all(b"before").unwrap();
        open.read_exact(&mut [0; 6]).unwrap();
        echo.signal(signal);
        // It stops listening soon; asking is the only way to see it.
        let start = Running::start();
        loop {
            // Accepted, or reset with the socket that was just closed: not refused yet.
            let connected = TcpStream::connect_timeout(&echo.address, Duration::from_secs(1));
            if connected.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused) {
                break;
            }
            assert!(start.elapsed() < Duration::from_secs(2), "it goes on listening");
        }
        for _ in 0..3 {
            open.write_all(b"after").unwrap();
            let mut answer = [0; 5];
            open.read_exact(&mut answer).unwrap();
            assert_eq!(&answer, b"after");
        }
        open.shutdown(Shutdown::Write).unwrap();
        assert_eq!(open.read(&mut [0; 1]).unwrap(), 0);
        let end = echo.end();
        assert_eq!(end.status.code(), Some(0), "{}", end.stderr);
        assert_eq!((&*end.stdout, &*end.stderr), ("", ""));
    }
}

#[test]
fn the_drain_deadline_cuts_connections_that_do_not_end() {
    if !can_run("the_drain_deadline_cuts_connections_that_do_not_end") {
        return;
    }
    let echo = Echo::start(&["--cores", "1", "--drain", "1"]);
    let mut open = echo.connect();
    open.write_all(b"x").unwrap();
    open.read_exact(&mut [0; 1]).unwrap();
    let (start, running) = (Instant::now(), Running::start());
    echo.signal(Signal::TERM);
    let end = echo.end();
    let (took, ran) = (start.elapsed(), running.elapsed());
    assert!(took >= Duration::from_millis(900) && ran < Duration::from_secs(5), "{took:?}, {ran:?}");
    assert!(end.status.success());
    assert_eq!(end.stderr, "echo: connections were cut after 1 s\n");
    let closed = open.read(&mut [0; 1]);
    assert!(closed.is_err() || closed.is_ok_and(|count| count == 0));
}

/// One line that says it, on stderr; no success, no panic, nothing else.
#[track_caller]
fn assert_refuses(output: &Output, says: &[&str]) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && output.status.code().is_some(), "{:?}", output.status);
    assert!(!said.contains("panicked"), "{said}");
    assert!(says.iter().all(|word| said.contains(word)), "{said}");
    assert!(output.stdout.is_empty(), "{}", String::from_utf8_lossy(&output.stdout));
}

#[track_caller]
fn assert_refuses_in_a_line(output: &Output, says: &[&str]) {
    assert_refuses(output, says);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("echo: ") && said.ends_with('\n') && said.lines().count() == 1, "{said}");
}

#[test]
fn what_it_cannot_do_is_one_clear_line() {
    if !can_run("what_it_cannot_do_is_one_clear_line") {
        return;
    }
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let output = example("echo").args(["--listen", &address]).output().unwrap();
    assert_refuses_in_a_line(&output, &[&address, "another process listens there"]);

    let echo = Echo::start(&[]);
    let output = example("echo").args(["--listen", &echo.address.to_string()]).output().unwrap();
    assert_refuses_in_a_line(&output, &["another process listens there"]);

    for variable in ["CORONET_BACKEND", "CORONET_MASK"] {
        let output = example("echo").env(variable, "nonsense").output().unwrap();
        assert_refuses_in_a_line(&output, &[variable, "nonsense"]);
    }

    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let mut command = example("echo");
    command.args(["--listen", "127.0.0.1:0"]).stdout(Stdio::from(full));
    assert_refuses_in_a_line(&command.output().unwrap(), &["No space left on device"]);
}

#[test]
fn wrong_arguments_are_named_in_one_line() {
    let output = example("echo").args(["--listen", "nonsense"]).output().unwrap();
    assert_refuses_in_a_line(&output, &["--listen", "nonsense"]);
    let output = example("echo").args(["--backend", "nonsense"]).output().unwrap();
    assert_refuses_in_a_line(&output, &["--backend", "nonsense", "uring"]);
    let output = example("echo").args(["--cores", "0"]).output().unwrap();
    assert_refuses_in_a_line(&output, &["--cores"]);
}

#[test]
fn a_privileged_port_is_refused_to_those_without_the_privilege() {
    if !can_run("a_privileged_port_is_refused_to_those_without_the_privilege") {
        return;
    }
    let mut command = example("echo");
    command.args(["--listen", "127.0.0.1:7"]);
    let output = spawn_without(CapabilitySet::NET_BIND_SERVICE, command).wait_with_output().unwrap();
    assert_refuses_in_a_line(&output, &["127.0.0.1:7", "ports below 1024 need a privilege"]);
}

#[test]
fn help_and_version_are_not_errors() {
    let output = example("echo").arg("--help").output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success());
    for option in ["--listen", "--cores", "--backend", "--drain"] {
        assert!(said.contains(option), "{said}");
    }
    assert!(example("echo").arg("--version").output().unwrap().status.success());
}
