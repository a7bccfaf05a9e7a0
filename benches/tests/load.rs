//! The generator tells the truth: it finds what a server does wrong, and measures one that does nothing wrong.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use coronet_benches::report::{Failure, Report};
use rival_contract::Program;

/// Runs the generator for a moment.
fn load(address: SocketAddr, options: &[&str]) -> Output {
    command(address, options).output().expect("the generator is built")
}

fn command(address: SocketAddr, options: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_load"));
    command.args(["--connect", &address.to_string(), "--json", "--duration", "0.3"]);
    if !options.contains(&"--warmup") {
        command.args(["--warmup", "0.1"]);
    }
    command.args(["--connections", "4"]).args(options);
    if !options.contains(&"--wait") {
        // Tests share their CPUs.
        command.args(["--wait", "sleep"]);
    }
    command
}

/// It ends with exit code 1 and one line, and its report names the error.
fn fails(output: &Output, kind: &str) {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{errors}");
    assert_eq!(errors.lines().count(), 1, "{errors}");
    let failure: Failure = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert!(!failure.verified);
    assert_eq!(failure.errors.get(kind), Some(&1), "{errors}{:?}", failure.errors);
}

fn succeeds(output: &Output) -> Report {
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(0), "{errors}");
    let report: Report = serde_json::from_slice(&output.stdout).expect("a line of JSON");
    assert!(report.verified && report.errors.is_empty());
    assert!(report.requests > 0 && report.bytes > 0);
    report
}

/// Gives each connection to `serve`, in a thread of its own, as long as the test runs.
fn server(serve: fn(TcpStream) -> std::io::Result<()>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Echoes, but the byte at `wrong` of the whole stream is another one.
fn corrupt(mut stream: TcpStream, wrong: usize) -> std::io::Result<()> {
    let mut buffer = vec![0; 16 << 10];
    let mut position = 0;
    loop {
        let count = stream.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        if (position..position + count).contains(&wrong) {
            buffer[wrong - position] ^= 1;
        }
        position += count;
        stream.write_all(&buffer[..count])?;
    }
}

/// The trap: one bit, late in the stream, in the middle of a message.
#[test]
fn one_wrong_byte_is_found() {
    let address = server(|stream| corrupt(stream, 1000));
    fails(&load(address, &[]), "payload");
    fails(&load(address, &["--pipeline", "4"]), "payload");
    fails(&load(address, &["--rate", "5000", "--wait", "spin"]), "payload");
    fails(&load(address, &["--mode", "stream-echo"]), "payload");
    let address = server(|stream| corrupt(stream, 63));
    fails(&load(address, &["--mode", "churn"]), "payload");
    fails(&load(address, &["--mode", "idle"]), "payload");
}

#[test]
fn bytes_that_nobody_asked_for_are_found() {
    let address = server(|mut stream| {
        let mut buffer = [0; 64];
        stream.read_exact(&mut buffer)?;
        // The message, and then the one that will come next, which is not hard to guess here: the same again.
        stream.write_all(&buffer)?;
        stream.write_all(&buffer)?;
        stream.read_exact(&mut buffer)
    });
    fails(&load(address, &[]), "payload");
}

#[test]
fn a_server_that_is_not_there_is_refused() {
    let gone = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr()).expect("a port");
    for mode in ["echo", "churn", "stream", "stream-echo", "idle"] {
        fails(&load(gone, &["--mode", mode]), "refused");
    }
}

#[test]
fn a_server_that_closes_is_found() {
    let address = server(|mut stream| stream.read_exact(&mut [0; 64]));
    for mode in ["echo", "churn", "idle"] {
        fails(&load(address, &["--mode", mode]), "closed");
    }
}

/// The trap: a server that takes connections and never answers leaves nothing to be wrong about.
#[test]
fn a_server_that_says_nothing_is_found() {
    let address = server(|mut stream| std::io::copy(&mut stream, &mut std::io::sink()).map(drop));
    fails(&load(address, &["--wait", "spin"]), "silent");
}

/// A sink that stops half-way leaves bytes unread: its connection ends with a reset, not in order.
#[test]
fn a_sink_that_does_not_take_everything_is_found() {
    let address = server(|mut stream| stream.read_exact(&mut vec![0; 1 << 20]));
    fails(&load(address, &["--mode", "stream"]), "reset");
}

#[test]
fn every_mode_measures_a_healthy_server() {
    let program = Program::new(env!("CARGO_BIN_EXE_raw_epoll"), &[]);
    let echo = program.start(&["--mode", "echo"]).expect("it starts");
    let own = std::process::id().to_string();
    let report = succeeds(&load(echo.address, &["--server-pid", &own]));
    assert_eq!(report.bytes, report.requests * 64);
    assert!(report.server.is_some() && report.latency_ns.is_some_and(|latency| latency.p50 > 0));
    succeeds(&load(echo.address, &["--pipeline", "16"]));
    succeeds(&load(echo.address, &["--size", "300000"]));
    succeeds(&load(echo.address, &["--mode", "churn"]));
    succeeds(&load(echo.address, &["--mode", "stream-echo"]));
    succeeds(&load(echo.address, &["--mode", "stream-echo", "--size", "1000", "--wait", "spin"]));
    let report = succeeds(&load(echo.address, &["--mode", "idle", "--server-pid", &own]));
    assert_eq!(report.requests, 4);
    assert!(report.memory.is_some_and(|memory| memory.server_rss.open > 0));
    let report = succeeds(&load(echo.address, &["--rate", "1000", "--wait", "spin"]));
    assert_eq!(report.load.rate, Some(1000.0));
    echo.ends().expect("it ends in order");
    let sink = program.start(&["--mode", "sink"]).expect("it starts");
    let report = succeeds(&load(sink.address, &["--mode", "stream"]));
    assert!(report.latency_ns.is_none());
    sink.ends().expect("it ends in order");
}

/// The trap: a generator that left requests under way would find their answers in the next measurement, and the server's
/// work between two measurements would be nobody's.
#[test]
fn asked_again_it_measures_again_on_the_same_connections_which_rest_in_between() {
    static ACCEPTED: AtomicUsize = AtomicUsize::new(0);
    static ECHOED: AtomicUsize = AtomicUsize::new(0);
    let address = server(|mut stream| {
        ACCEPTED.fetch_add(1, Ordering::SeqCst);
        let mut buffer = [0; 4096];
        loop {
            let count = stream.read(&mut buffer)?;
            if count == 0 {
                return Ok(());
            }
            ECHOED.fetch_add(count, Ordering::SeqCst);
            stream.write_all(&buffer[..count])?;
        }
    });
    let mut command = command(address, &["--again", "--warmup", "0"]);
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().expect("it starts");
    let mut input = child.stdin.take().expect("it is a pipe");
    let mut lines = BufReader::new(child.stdout.take().expect("it is a pipe")).lines();
    let mut answered = 0;
    for _ in 0..3 {
        let line = lines.next().expect("a line").expect("text");
        let report: Report = serde_json::from_str(&line).expect("a report");
        answered += usize::try_from(report.bytes).expect("few bytes");
        assert_eq!(ECHOED.load(Ordering::SeqCst), answered, "all that was echoed is in a report");
        input.write_all(b"\n").expect("it listens");
    }
    lines.next().expect("the answer to the last line").expect("text");
    drop(input);
    assert!(lines.next().is_none() && child.wait().expect("it ends").success());
    assert_eq!(ACCEPTED.load(Ordering::SeqCst), 4);
}
