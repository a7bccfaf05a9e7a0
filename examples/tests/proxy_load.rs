//! The proxy under load: bounded memory, upstreams that come and go, random stalls.

mod support;

use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use support::can_run;
use support::proxy::{Echoing, Pattern, Proxy, Refusing, accept, until, upstream};

/// Writes `len` bytes of the pattern and ends the direction.
fn send(mut stream: &TcpStream, pattern: &Pattern, len: usize, mut stall: impl FnMut()) {
    let mut position = 0;
    while position < len {
        let piece = pattern.at(position, (len - position).min(100_003));
        stream.write_all(piece).expect("it is taken");
        position += piece.len();
        stall();
    }
    stream.shutdown(Shutdown::Write).expect("it is open");
}

/// Reads the pattern to the end.
fn take(mut stream: &TcpStream, pattern: &Pattern, mut stall: impl FnMut()) -> usize {
    let (mut piece, mut position) = (vec![0; 200_003], 0);
    loop {
        let count = match stream.read(&mut piece) {
            // The process was paused.
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.expect("bytes, or the end"),
        };
        if count == 0 {
            return position;
        }
        pattern.check(position, &piece[..count]);
        position += count;
        stall();
    }
}

#[test]
fn a_slow_reader_on_either_side_bounds_memory() {
    const LEN: usize = 256 << 20;
    const BOUND: u64 = 16 << 20;
    if !can_run("a_slow_reader_on_either_side_bounds_memory") {
        return;
    }
    let pattern = Pattern::new();
    for client_is_slow in [true, false] {
        let (listener, address) = upstream();
        let proxy = Proxy::start(&[address], &["--cores", "1"]);
        let client = proxy.connect();
        let server = accept(&listener);
        let (slow, fast) = if client_is_slow { (client, server) } else { (server, client) };
        let before = proxy.resident();
        let sent = AtomicUsize::new(0);
        std::thread::scope(|scope| {
            scope.spawn(|| send(&fast, &pattern, LEN, || _ = sent.fetch_add(1, Ordering::Relaxed)));
            // Until it is stuck: nothing more is taken while much time passes.
            let mut last = (usize::MAX, Instant::now());
            until("the sender is stuck", || {
                let now = sent.load(Ordering::Relaxed);
                if now != last.0 {
                    last = (now, Instant::now());
                }
                last.1.elapsed() > Duration::from_millis(300)
            });
            let mut highest = proxy.resident();
            let mut pieces = 0;
            let taken = take(&slow, &pattern, || {
                pieces += 1;
                if pieces % 50 == 0 {
                    highest = highest.max(proxy.resident());
                }
            });
            assert_eq!(taken, LEN);
            let grown = highest.saturating_sub(before);
            assert!(grown < BOUND, "{} KiB more than the {} KiB before", grown >> 10, before >> 10);
        });
        drop((slow, fast));
        proxy.ends_quietly();
    }
}

#[test]
fn stalls_at_random_on_all_sides_change_no_byte() {
    // 10 GiB, for a long run: see docs/PROXY.md.
    let len = std::env::var("PROXY_STALL_MIB").map_or(128, |mib| mib.parse().expect("a number")) << 20;
    if !can_run("stalls_at_random_on_all_sides_change_no_byte") {
        return;
    }
    let pattern = Pattern::new();
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &[]);
    let client = proxy.connect();
    let server = accept(&listener);
    let stalls = |seed| {
        let mut random = fastrand::Rng::with_seed(seed);
        // This is what is tested, and waits for nothing: one side is slower now and then.
        move || {
            if random.u8(..) < 8 {
                std::thread::sleep(Duration::from_micros(random.u64(..2_000)));
            }
        }
    };
    std::thread::scope(|scope| {
        scope.spawn(|| send(&client, &pattern, len, stalls(1)));
        scope.spawn(|| send(&server, &pattern, len, stalls(2)));
        let at_client = scope.spawn(|| take(&client, &pattern, stalls(3)));
        let at_server = scope.spawn(|| take(&server, &pattern, stalls(4)));
        assert_eq!(at_client.join().expect("right bytes"), len);
        assert_eq!(at_server.join().expect("right bytes"), len);
    });
    until("it is over", || proxy.value("proxy_connections_open", "") == 0.0);
    assert_eq!(proxy.value("proxy_bytes_total", ""), 2.0 * len as f64);
    proxy.ends_quietly();
}

/// One client: the name of its upstream if it was greeted, and whether all went well.
fn visit(address: SocketAddr) -> (Option<u8>, std::io::Result<()>) {
    let mut greeting = [0];
    let mut talk = || {
        let mut client = support::proxy::limited(TcpStream::connect(address)?);
        client.read_exact(&mut greeting)?;
        for round in 0..3 {
            let question = [round; 100];
            client.write_all(&question)?;
            let mut answer = [0; 100];
            client.read_exact(&mut answer)?;
            assert_eq!(answer, question, "foreign bytes");
        }
        client.shutdown(Shutdown::Write)?;
        match client.read_to_end(&mut Vec::new())? {
            0 => Ok(()),
            _ => Err(std::io::Error::other("bytes that nobody sent")),
        }
    };
    let result = talk();
    (Some(greeting[0]).filter(|&greeting| greeting > 0), result)
}

#[test]
fn killed_upstreams_take_only_their_own_connections_with_them() {
    const CLIENTS: usize = 2_000;
    if !can_run("killed_upstreams_take_only_their_own_connections_with_them") {
        return;
    }
    // Upstream `n` greets with `n`; 1 lives all the time, 2 and 3 are killed and started in turn.
    let (steady, address) = upstream();
    let _steady = Echoing::start(steady, Some(1));
    let mut addresses = vec![address];
    let mut mortal: Vec<_> = [2, 3]
        .map(|name| {
            let (listener, address) = upstream();
            addresses.push(address);
            (name, Echoing::start(listener, Some(name)))
        })
        .into();
    let proxy = Proxy::start(&addresses, &["--health-interval", "off"]);
    // Odd while one is dying: a kill that overlaps a visit changes it.
    let (kills, visits, lost) = (AtomicUsize::new(0), AtomicUsize::new(0), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| {
                while visits.fetch_add(1, Ordering::Relaxed) < CLIENTS {
                    let before = kills.load(Ordering::SeqCst);
                    let (greeted_by, result) = visit(proxy.address);
                    if let Err(error) = result {
                        let during = before % 2 == 1 || kills.load(Ordering::SeqCst) != before;
                        assert!(during, "lost without a kill: {error}");
                        assert_ne!(greeted_by, Some(1), "lost by the one that lives: {error}");
                        lost.fetch_add(1, Ordering::Relaxed);
                    }
                }
            });
        }
        let mut turn = 0;
        while visits.load(Ordering::Relaxed) < CLIENTS {
            let (name, victim) = mortal.remove(0);
            kills.fetch_add(1, Ordering::SeqCst);
            let address = victim.kill();
            // At once: another test may get a port that nobody has, and with it the clients of this one.
            let (refusing, _) = Refusing::at(address);
            let seen = visits.load(Ordering::Relaxed);
            kills.fetch_add(1, Ordering::SeqCst);
            // Dark for a while, so that others have to be found.
            until("clients come", || visits.load(Ordering::Relaxed) > (seen + 50).min(CLIENTS));
            mortal.push((name, Echoing::start(refusing.listen(), Some(name))));
            turn += 1;
            let seen = visits.load(Ordering::Relaxed);
            until("clients come", || visits.load(Ordering::Relaxed) > (seen + 50).min(CLIENTS));
        }
        assert!(turn >= 3, "too few kills to prove anything: {turn}");
    });
    assert!(lost.load(Ordering::Relaxed) < CLIENTS / 10, "{lost:?} lost");
    assert_eq!(proxy.errors("no_upstream"), 0.0);
    until("all is over", || proxy.value("proxy_connections_open", "") == 0.0);
    let (status, _) = visit(proxy.address);
    assert!(status.is_some());
    proxy.ends_quietly();
}
