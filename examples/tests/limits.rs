//! The echo example where the system gives little: few descriptors, little locked memory.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::process::{Command, Stdio};

use rustix::process::Signal;
use rustix::thread::CapabilitySet;
use support::proxy::until;
use support::{Echo, can_run, example, skip, spawn_without};

/// The echo example on one core and this backend, with the limits of these shell commands.
fn limited(limits: &str, backend: &str) -> Command {
    let program = example("echo").get_program().to_owned();
    let script = format!("{limits}; exec \"$0\" --listen 127.0.0.1:0 --cores 1 --backend {backend}");
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]).arg(program);
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    shell
}

fn assert_echoes(client: &mut impl ReadWrite) {
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

trait ReadWrite: Read + Write {}
impl<T: Read + Write> ReadWrite for T {}

fn assert_ends_well(echo: Echo) {
    echo.signal(Signal::TERM);
    let end = echo.end();
    assert!(end.status.success() && end.stderr.is_empty(), "{}", end.stderr);
}

/// The trap: an accept that fails for want of a descriptor is tried again at once, for ever.
fn serves_more_clients_than_it_has_descriptors(backend: &str) {
    let echo = Echo::of(limited("ulimit -n 64", backend));
    let mut clients: Vec<_> = (0..500).map(|_| echo.connect()).collect();
    assert_echoes(&mut clients[0]);
    // The last one is not served now; meanwhile the server has nothing to do but to look now and then. It is
    // counted how often it goes to sleep, and not how long that takes: one that spins never sleeps.
    let last = clients.last_mut().unwrap();
    last.write_all(b"ping").unwrap();
    let (sleeps, ticks) = (echo.sleeps(), echo.cpu_ticks());
    until("it sleeps four times, as it has nothing to do", || echo.sleeps() >= sleeps + 4);
    let spent = echo.cpu_ticks() - ticks;
    assert!(spent <= 4, "10 ms of CPU for a sleep: it spins ({spent} ticks)");
    last.set_nonblocking(true).unwrap();
    let error = last.read(&mut [0; 4]).expect_err("nobody answers yet");
    assert_eq!(error.kind(), ErrorKind::WouldBlock, "{error}");
    last.set_nonblocking(false).unwrap();
    let last = clients.pop().unwrap();
    for mut client in clients {
        assert_echoes(&mut client);
    }
    let (mut last, mut answer) = (last, [0; 4]);
    last.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
    drop(last);
    assert_ends_well(echo);
}

#[test]
fn with_64_open_files_500_clients_are_served_as_descriptors_come_free() {
    if can_run("with_64_open_files_500_clients_are_served_as_descriptors_come_free") {
        serves_more_clients_than_it_has_descriptors("auto");
    }
}

#[test]
fn with_64_open_files_500_clients_are_served_on_epoll() {
    serves_more_clients_than_it_has_descriptors("epoll");
}

#[test]
fn the_soft_limit_of_open_files_is_raised() {
    let echo = Echo::of(limited("ulimit -Sn 30; ulimit -Hn 256", "epoll"));
    let mut clients: Vec<_> = (0..100).map(|_| echo.connect()).collect();
    for client in &mut clients {
        assert_echoes(client);
    }
    drop(clients);
    assert_ends_well(echo);
}

#[test]
fn with_little_locked_memory_it_starts_smaller_or_on_epoll_and_says_so() {
    const NAME: &str = "with_little_locked_memory_it_starts_smaller_or_on_epoll_and_says_so";
    if !can_run(NAME) {
        return;
    }
    if support::backend() != "io_uring" {
        return skip(NAME, "needs io_uring: it starts on epoll in any case");
    }
    let echo = Echo::from(spawn_without(CapabilitySet::IPC_LOCK, limited("ulimit -l 64", "auto")));
    let says = |text: &str| echo.line.contains(text);
    let smaller = says("io_uring (") && says("256 do not fit into RLIMIT_MEMLOCK");
    let other = says("epoll (") && says("ENOMEM") && says("RLIMIT_MEMLOCK");
    // A kernel that charges nothing for rings has no reason to say anything.
    let uncharged = says("io_uring (") && says("256 + ");
    assert!(smaller || other || uncharged, "{}", echo.line);
    println!("{}", echo.line);
    assert_echoes(&mut echo.connect());
    assert_ends_well(echo);
}
