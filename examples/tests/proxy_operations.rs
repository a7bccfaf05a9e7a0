//! The proxy as its operator meets it: time limits, bounds, metrics, signals, configuration, hand-over.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use support::proxy::{
    Echoing, Proxy, accept, ask, assert_closed, assert_ends, assert_reset, echo, until, upstream,
};
use support::{Running, can_run, example};

/// An upstream that echoes, and a proxy in front of it.
fn echoing(arguments: &[&str]) -> (Echoing, Proxy) {
    let (listener, address) = upstream();
    (Echoing::start(listener, None), Proxy::start(&[address], arguments))
}

#[test]
fn a_header_that_takes_too_long_closes_its_connection_and_others_are_served_meanwhile() {
    if !can_run("a_header_that_takes_too_long_closes_its_connection_and_others_are_served_meanwhile") {
        return;
    }
    let arguments = ["--cores", "1", "--proxy-protocol", "in", "--header-timeout", "300ms"];
    let (_upstream, proxy) = echoing(&arguments);
    let start = Instant::now();
    let mut slow: Vec<_> = (0..50).map(|_| proxy.connect()).collect();
    for client in &mut slow {
        client.write_all(b"PROXY TC").unwrap();
    }
    let mut newcomer = proxy.connect();
    newcomer.write_all(b"PROXY UNKNOWN\r\n").unwrap();
    echo(&mut newcomer, b"hello").unwrap();
    slow.iter().for_each(assert_closed);
    assert!(start.elapsed() >= Duration::from_millis(300), "{:?}", start.elapsed());
    until("all are counted", || proxy.errors("header_timeout") == 50.0);
    echo(&mut newcomer, b"still here").unwrap();
    drop(newcomer);
    proxy.ends_quietly();
}

#[test]
fn a_connection_that_carries_nothing_is_reset_and_one_that_does_is_not() {
    if !can_run("a_connection_that_carries_nothing_is_reset_and_one_that_does_is_not") {
        return;
    }
    // Who is not given a CPU for longer than the limit carries nothing either.
    assert!((0..10).any(|_| the_silent_is_reset_and_the_busy_is_not()), "this process was held up each time");
}

/// False if this process was held up, so that its busy connection had to be reset, too.
fn the_silent_is_reset_and_the_busy_is_not() -> bool {
    const LIMIT: Duration = Duration::from_millis(400);
    let (_upstream, proxy) = echoing(&["--cores", "1", "--idle-timeout", "400ms"]);
    let mut silent = proxy.connect();
    echo(&mut silent, b"hello").unwrap();
    // Half-open: it said that it will send no more, and hears nothing, as its peer is waited for.
    let (listener, quiet) = upstream();
    let half_proxy = Proxy::start(&[quiet], &["--idle-timeout", "400ms"]);
    let half = half_proxy.connect();
    half.shutdown(Shutdown::Write).unwrap();
    let server = accept(&listener);

    let mut busy = proxy.connect();
    // From before its bytes were sent: the proxy cannot have seen them earlier.
    let mut carried = Instant::now();
    let mut carries = |bytes: &[u8]| {
        let start = Instant::now();
        let answer = echo(&mut busy, bytes);
        let held_up = carried.elapsed() >= LIMIT;
        carried = start;
        if !held_up {
            answer.unwrap();
        }
        !held_up
    };
    let running = Running::start();
    while proxy.errors("idle") == 0.0 {
        if !carries(b"tick") {
            return false;
        }
        assert!(running.elapsed() < support::HANG);
    }
    assert_reset(&silent);
    if !carries(b"still here") {
        return false;
    }
    assert_reset(&half);
    // Its end had come before the reset.
    assert_ends(&server);
    drop(busy);
    half_proxy.ends_quietly();
    proxy.ends_quietly();
    true
}

#[test]
fn beyond_the_bound_clients_wait_and_none_is_turned_away() {
    if !can_run("beyond_the_bound_clients_wait_and_none_is_turned_away") {
        return;
    }
    for cores in ["1", "2"] {
        let (_upstream, proxy) = echoing(&["--max-conns", "2", "--cores", cores]);
        let mut first: Vec<_> = (0..2).map(|_| proxy.connect()).collect();
        first.iter_mut().for_each(|client| echo(client, b"in").unwrap());
        let mut late: Vec<_> = (0..20).map(|_| proxy.connect()).collect();
        for client in &mut late {
            client.write_all(b"late").unwrap();
        }
        until("accepting stops", || proxy.value("proxy_accept_pauses_total", "") > 0.0);
        assert_eq!(proxy.value("proxy_connections_open", ""), 2.0);
        first.iter_mut().for_each(|client| echo(client, b"still in").unwrap());
        drop(first);
        // In whatever order they get in; each leaves when it was served.
        std::thread::scope(|scope| {
            for mut client in late {
                scope.spawn(move || {
                    let mut answer = [0; 4];
                    client.read_exact(&mut answer).unwrap();
                    assert_eq!(&answer, b"late");
                });
            }
        });
        assert_eq!(proxy.value("proxy_connections_total", ""), 22.0);
        proxy.ends_quietly();
    }
}

#[test]
fn metrics_are_what_a_scraper_reads_and_count_what_happened() {
    if !can_run("metrics_are_what_a_scraper_reads_and_count_what_happened") {
        return;
    }
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &["--health-interval", "off"]);
    for _ in 0..3 {
        let mut client = proxy.connect();
        client.write_all(&[1; 1000]).unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        let mut server = accept(&listener);
        server.read_to_end(&mut Vec::new()).unwrap();
        server.write_all(&[2; 70]).unwrap();
        drop(server);
        client.read_to_end(&mut Vec::new()).unwrap();
    }
    until("all is over", || proxy.value("proxy_connections_open", "") == 0.0);
    assert_eq!(proxy.value("proxy_connections_total", ""), 3.0);
    assert_eq!(proxy.value("proxy_bytes_total", "direction=\"up\""), 3000.0);
    assert_eq!(proxy.value("proxy_bytes_total", "direction=\"down\""), 210.0);
    assert_eq!(proxy.value("proxy_errors_total", ""), 0.0);
    assert_eq!(proxy.value("proxy_connect_seconds_count", &address.to_string()), 3.0);
    assert_eq!(proxy.value("proxy_connect_seconds_bucket", "le=\"+Inf\""), 3.0);
    assert_eq!(proxy.value("proxy_upstream_up", &address.to_string()), 1.0);
    assert_eq!(proxy.value("proxy_upstream_connections_open", ""), 0.0);

    let head = |request: &str| ask(proxy.metrics, request).lines().next().unwrap_or_default().to_owned();
    assert_eq!(head("GET / HTTP/1.1\r\n\r\n"), "HTTP/1.1 404 Not Found");
    assert_eq!(head("POST /metrics HTTP/1.1\r\n\r\n"), "HTTP/1.1 405 Method Not Allowed");
    assert_eq!(head("nonsense\r\n\r\n"), "HTTP/1.1 400 Bad Request");
    assert_eq!(
        head(&format!("GET /metrics HTTP/1.1\r\nX: {}", "y".repeat(9000))),
        "HTTP/1.1 400 Bad Request"
    );
    proxy.ends_quietly();
}

/// A configuration file of one test.
struct File(PathBuf);

impl File {
    fn new(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coronet-proxy-{name}-{}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self(path)
    }

    fn write(&self, text: &str) {
        std::fs::write(&self.0, text).unwrap();
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.0);
    }
}

fn configuration(to: SocketAddr) -> String {
    format!("listen = \"127.0.0.1:0\"\nmetrics = \"127.0.0.1:0\"\nto = [\"{to}\"]\n")
}

#[test]
fn sighup_reads_the_configuration_again_and_connections_go_on() {
    if !can_run("sighup_reads_the_configuration_again_and_connections_go_on") {
        return;
    }
    let ((old, old_address), (new, new_address)) = (upstream(), upstream());
    let (_old, _new) = (Echoing::start(old, Some(b'o')), Echoing::start(new, Some(b'n')));
    let file = File::new("reload", &configuration(old_address));
    let mut command = example("proxy");
    command.arg("--config").arg(&file.0);
    let proxy = Proxy::of(command);
    let greeted = |by: &[u8; 1]| {
        let mut client = proxy.connect();
        let mut greeting = [0];
        client.read_exact(&mut greeting).unwrap();
        assert_eq!(&greeting, by);
        client
    };
    let mut client = greeted(b"o");
    file.write(&format!("{}balance = \"p2c\"\n", configuration(new_address)));
    proxy.signal(Signal::HUP);
    until("it is in force", || proxy.value("proxy_reloads_total", "") == 1.0);
    drop(greeted(b"n"));
    echo(&mut client, b"as before").unwrap();
    assert!(
        !proxy
            .scrape()
            .keys()
            .any(|line| line.starts_with("proxy_upstream_up") && line.contains(&old_address.to_string()))
    );

    file.write("balance = \"best\"\n");
    proxy.signal(Signal::HUP);
    until("it is refused", || proxy.value("proxy_reload_errors_total", "") == 1.0);
    drop(greeted(b"n"));
    echo(&mut client, b"as before").unwrap();
    drop(client);
    proxy.signal(Signal::TERM);
    let end = proxy.end();
    assert!(end.status.success());
    let expected = format!(
        "proxy: {}:1: key `balance`: unknown variant `best`, expected one of `round-robin`, `least`, `p2c`; \
         the old configuration stays\n",
        file.0.display()
    );
    assert_eq!((&*end.stdout, &*end.stderr), ("", &*expected));
}

#[test]
fn a_wrong_configuration_is_one_line_and_exit_code_2() {
    let file =
        File::new("wrong", "listen = \"127.0.0.1:0\"\nto = [\"127.0.0.1:1\"]\nidle_timeout = \"5s\"\n");
    let absent = file.0.with_extension("absent");
    for (path, says) in [(&file.0, ":3: key `idle_timeout`: unknown field"), (&absent, "No such file")] {
        let output = example("proxy").arg("--config").arg(path).output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{said}");
        assert!(said.starts_with(&format!("proxy: {}", path.display())) && said.contains(says), "{said}");
        assert!(said.lines().count() == 1 && output.stdout.is_empty(), "{said}");
    }
    let output = example("proxy").args(["--listen", "127.0.0.1:0"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert_eq!(
        String::from_utf8_lossy(&output.stderr),
        "proxy: command line: key `to`: no upstream is given\n"
    );
    let output = example("proxy").args(["--balance", "best"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn what_the_system_refuses_is_one_line() {
    if !can_run("what_the_system_refuses_is_one_line") {
        return;
    }
    let (_taken, address) = upstream();
    let output =
        example("proxy").args(["--to", "127.0.0.1:1", "--listen", &address.to_string()]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("another process listens there") && said.lines().count() == 1, "{said}");
    let output = example("proxy")
        .args(["--to", "no.such.host.invalid:1", "--listen", "127.0.0.1:0"])
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(said.contains("no.such.host.invalid:1") && said.lines().count() == 1, "{said}");
}

/// Whether the port is closed to newcomers: accepted or reset with the socket is not refused yet.
fn refuses(address: SocketAddr) -> bool {
    let connected = TcpStream::connect_timeout(&address, Duration::from_secs(1));
    connected.is_err_and(|error| error.kind() == std::io::ErrorKind::ConnectionRefused)
}

#[test]
fn sigterm_and_ctrl_c_let_open_connections_end_and_refuse_new_ones() {
    if !can_run("sigterm_and_ctrl_c_let_open_connections_end_and_refuse_new_ones") {
        return;
    }
    for signal in [Signal::TERM, Signal::INT] {
        let (_upstream, proxy) = echoing(&[]);
        let mut open = proxy.connect();
        echo(&mut open, b"before").unwrap();
        proxy.signal(signal);
        until("it stops listening", || refuses(proxy.address));
        echo(&mut open, &vec![3; 200_000]).unwrap();
        // Metrics tell how far the drain is.
        until("those who asked are gone", || proxy.value("proxy_connections_open", "") == 1.0);
        open.shutdown(Shutdown::Write).unwrap();
        assert_ends(&open);
        let end = proxy.end();
        assert_eq!((end.status.code(), &*end.stdout, &*end.stderr), (Some(0), "", ""));
    }
}

#[test]
fn the_end_of_the_drain_resets_what_is_still_open() {
    if !can_run("the_end_of_the_drain_resets_what_is_still_open") {
        return;
    }
    let (_upstream, proxy) = echoing(&["--drain-timeout", "500ms"]);
    let mut open = proxy.connect();
    echo(&mut open, b"before").unwrap();
    let (start, running) = (Instant::now(), Running::start());
    proxy.signal(Signal::TERM);
    let end = proxy.end();
    let (took, ran) = (start.elapsed(), running.elapsed());
    assert!(took >= Duration::from_millis(500) && ran < Duration::from_secs(5), "{took:?}, {ran:?}");
    assert_eq!((end.status.code(), &*end.stderr), (Some(0), "proxy: 1 connection was cut after 500ms\n"));
    assert_reset(&open);
}

#[test]
fn a_second_signal_ends_the_drain() {
    if !can_run("a_second_signal_ends_the_drain") {
        return;
    }
    let (_upstream, proxy) = echoing(&["--drain-timeout", "1h"]);
    let mut open = proxy.connect();
    echo(&mut open, b"before").unwrap();
    proxy.signal(Signal::TERM);
    until("it stops listening", || refuses(proxy.address));
    proxy.signal(Signal::INT);
    let end = proxy.end();
    assert_eq!(end.status.code(), Some(1));
    assert_eq!(end.stderr, "proxy: a second signal cut what was still open\n");
}

/// Connects and echoes once; whatever goes wrong is a client that was lost.
fn once(address: SocketAddr) -> std::io::Result<()> {
    let mut client = support::proxy::limited(TcpStream::connect(address)?);
    echo(&mut client, b"hello")?;
    client.shutdown(Shutdown::Write)?;
    match client.read_to_end(&mut Vec::new())? {
        0 => Ok(()),
        _ => Err(std::io::Error::other("bytes that nobody sent")),
    }
}

#[test]
fn two_thousand_connects_during_a_hand_over_are_all_served() {
    const CONNECTS: usize = 2_000;
    if !can_run("two_thousand_connects_during_a_hand_over_are_all_served") {
        return;
    }
    let (_upstream, mut proxy) = echoing(&[]);
    let address = proxy.address;
    let mut open = proxy.connect();
    echo(&mut open, b"before").unwrap();
    let (served, handed_over) = (AtomicUsize::new(0), AtomicBool::new(false));
    let line = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                // On, until there were enough, and some of them after the hand-over.
                let mut after = 0;
                while served.load(Ordering::Relaxed) < CONNECTS || after < 50 {
                    once(address).expect("a client was lost");
                    served.fetch_add(1, Ordering::Relaxed);
                    after += usize::from(handed_over.load(Ordering::Relaxed));
                }
            });
        }
        until("clients come", || served.load(Ordering::Relaxed) > 200);
        let line = proxy.hand_over();
        // The old one stops accepting now, and drains: what it serves still is ours.
        echo(&mut open, b"after").unwrap();
        open.shutdown(Shutdown::Write).unwrap();
        assert_ends(&open);
        assert!(proxy.status().success());
        handed_over.store(true, Ordering::Relaxed);
        line
    });
    assert!(line.starts_with(&format!("proxy on {address}, ")) && line != proxy.line, "{line}");
    // The metrics page was handed over, too.
    assert!(proxy.value("proxy_connections_total", "") >= 200.0);
    once(address).unwrap();
    proxy.signal(Signal::TERM);
    let end = proxy.end();
    assert_eq!((&*end.stdout, &*end.stderr), ("", ""));
    until("it stops listening", || refuses(address));
}

/// The trap: a queue that dies with its socket. Nobody accepts while the sockets change hands.
#[test]
fn clients_that_wait_in_the_backlog_are_served_by_the_successor() {
    if !can_run("clients_that_wait_in_the_backlog_are_served_by_the_successor") {
        return;
    }
    let (_upstream, mut proxy) = echoing(&["--cores", "1", "--max-conns", "1"]);
    let mut blocking = proxy.connect();
    echo(&mut blocking, b"in").unwrap();
    // More than the listener takes ahead.
    let mut waiting: Vec<_> = (0..600).map(|_| proxy.connect()).collect();
    for client in &mut waiting {
        client.write_all(b"late").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
    }
    proxy.hand_over();
    for mut client in waiting {
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert_eq!(answer, b"late");
    }
    echo(&mut blocking, b"still in").unwrap();
    drop(blocking);
    assert!(proxy.status().success());
    proxy.signal(Signal::TERM);
    until("it stops listening", || refuses(proxy.address));
}

#[test]
fn a_successor_that_cannot_start_changes_nothing_and_the_next_one_may_and_its_next() {
    if !can_run("a_successor_that_cannot_start_changes_nothing_and_the_next_one_may_and_its_next") {
        return;
    }
    let (listener, address) = upstream();
    let _upstream = Echoing::start(listener, None);
    let file = File::new("successor", &configuration(address));
    let mut command = example("proxy");
    command.arg("--config").arg(&file.0);
    let mut proxy = Proxy::of(command);
    let mut open = proxy.connect();
    echo(&mut open, b"before").unwrap();
    file.write("cores = 0\n");
    proxy.signal(Signal::USR2);
    let said = proxy.complaint();
    assert!(said.contains(":1: key `cores`: ") && said.starts_with("proxy: "), "{said}");
    assert_eq!(proxy.complaint(), "proxy: the successor ended (exit status: 2); this process goes on\n");
    once(proxy.address).unwrap();
    echo(&mut open, b"after").unwrap();
    drop(open);
    // More cores than sockets, then fewer.
    for cores in [3, 1] {
        file.write(&format!("cores = {cores}\n{}", configuration(address)));
        let line = proxy.hand_over();
        assert!(line.contains(&format!(", {cores} core")), "{line}");
        for _ in 0..20 {
            once(proxy.address).unwrap();
        }
    }
    assert!(proxy.status().success());
    proxy.signal(Signal::TERM);
    until("it stops listening", || refuses(proxy.address));
}
