//! The proxy between clients and upstreams: bytes, ends, resets, PROXY headers, and who gets what.

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpStream};

use support::proxy::{
    Echoing, Proxy, Refusing, accept, assert_closed, assert_reset, echo, reset, until, upstream,
};
use support::{backend, can_run, uninterrupted};

/// A client, and what its upstream sees of it; a byte went each way, so all is connected.
fn pair(proxy: &Proxy, listener: &std::net::TcpListener) -> (TcpStream, TcpStream) {
    let mut client = proxy.connect();
    client.write_all(b"?").unwrap();
    let mut server = accept(listener);
    // A check of the upstream's health comes every 5 s, and says nothing.
    while uninterrupted(|| server.read(&mut [0])).unwrap() == 0 {
        server = accept(listener);
    }
    server.write_all(b"!").unwrap();
    client.read_exact(&mut [0]).unwrap();
    (client, server)
}

#[test]
fn it_prints_one_line_that_says_what_it_does() {
    if !can_run("it_prints_one_line_that_says_what_it_does") {
        return;
    }
    let (_listener, address) = upstream();
    let proxy = Proxy::start(&[address], &["--cores", "1"]);
    let backend = format!(", {} (", backend());
    for part in [&*backend, ", 1 core, ", &format!(", to {address}, "), ", pid "] {
        assert!(proxy.line.contains(part), "{part:?} in {}", proxy.line);
    }
    proxy.ends_quietly();
}

#[test]
fn bytes_go_both_ways_as_they_are() {
    if !can_run("bytes_go_both_ways_as_they_are") {
        return;
    }
    let (listener, address) = upstream();
    let upstream = Echoing::start(listener, None);
    let proxy = Proxy::start(&[address], &[]);
    let mut client = proxy.connect();
    let question: Vec<u8> = (0..1_000_003u32).map(|byte| (byte * 7) as u8).collect();
    std::thread::scope(|scope| {
        let mut writer = client.try_clone().unwrap();
        scope.spawn(|| {
            let mut writer = {
                writer.write_all(&question).unwrap();
                writer
            };
            writer.flush().unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).unwrap();
        assert!(answer == question);
    });
    drop((client, upstream));
    proxy.ends_quietly();
}

#[test]
fn the_end_of_a_client_reaches_the_upstream_and_its_answer_still_comes() {
    if !can_run("the_end_of_a_client_reaches_the_upstream_and_its_answer_still_comes") {
        return;
    }
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &[]);
    let (mut client, mut server) = pair(&proxy, &listener);
    client.write_all(b"question").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut question = Vec::new();
    server.read_to_end(&mut question).unwrap();
    assert_eq!(question, b"question");
    let answer = vec![7; 3_000_000];
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut server = server;
            server.write_all(&answer).unwrap();
        });
        let mut got = Vec::new();
        client.read_to_end(&mut got).unwrap();
        assert!(got == answer);
    });
    proxy.ends_quietly();
}

#[test]
fn the_end_of_an_upstream_reaches_the_client_and_its_words_still_go() {
    if !can_run("the_end_of_an_upstream_reaches_the_client_and_its_words_still_go") {
        return;
    }
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &[]);
    let (mut client, mut server) = pair(&proxy, &listener);
    server.write_all(b"greeting").unwrap();
    server.shutdown(Shutdown::Write).unwrap();
    let mut greeting = Vec::new();
    client.read_to_end(&mut greeting).unwrap();
    assert_eq!(greeting, b"greeting");
    client.write_all(b"long after").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut words = Vec::new();
    server.read_to_end(&mut words).unwrap();
    assert_eq!(words, b"long after");
    until("it is over", || proxy.value("proxy_connections_open", "") == 0.0);
    proxy.ends_quietly();
}

#[test]
fn a_reset_of_either_side_is_a_reset_on_the_other() {
    if !can_run("a_reset_of_either_side_is_a_reset_on_the_other") {
        return;
    }
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &[]);
    let (client, server) = pair(&proxy, &listener);
    reset(client);
    assert_reset(&server);
    until("it is counted", || proxy.errors("client_reset") == 1.0);
    let (client, server) = pair(&proxy, &listener);
    reset(server);
    assert_reset(&client);
    until("it is counted", || proxy.errors("upstream_reset") == 1.0);
    until("it is over", || proxy.value("proxy_connections_open", "") == 0.0);
    proxy.ends_quietly();
}

/// The trap: the write to the upstream fails first, and the answer behind it is lost.
#[test]
fn what_an_upstream_said_before_it_refused_more_still_comes() {
    if !can_run("what_an_upstream_said_before_it_refused_more_still_comes") {
        return;
    }
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &["--cores", "1"]);
    for _ in 0..50 {
        let (mut client, mut server) = pair(&proxy, &listener);
        server.write_all(b"too large").unwrap();
        drop(server);
        // The upstream is closed: its kernel answers this with a reset.
        client.write_all(&[0; 1000]).unwrap();
        let mut answer = [0; 9];
        client.read_exact(&mut answer).unwrap();
        assert_eq!(&answer, b"too large");
    }
    proxy.ends_quietly();
}

#[test]
fn a_connect_that_fails_goes_to_the_next_upstream() {
    if !can_run("a_connect_that_fails_goes_to_the_next_upstream") {
        return;
    }
    let (_refusing, dark) = Refusing::new();
    let (listener, address) = upstream();
    let _upstream = Echoing::start(listener, None);
    for balance in ["round-robin", "least", "p2c"] {
        let proxy = Proxy::start(&[dark, address], &["--balance", balance, "--health-interval", "off"]);
        for _ in 0..10 {
            echo(&mut proxy.connect(), b"hello").unwrap();
        }
        let failed = proxy.errors("connect");
        assert!((1.0..=10.0).contains(&failed), "{balance}: {failed}");
        assert_eq!(proxy.value("proxy_upstream_connect_errors_total", &dark.to_string()), failed);
        assert_eq!(proxy.errors("no_upstream"), 0.0);
        proxy.ends_quietly();
    }
}

#[test]
fn without_any_upstream_connections_are_closed_and_counted_and_the_process_lives() {
    if !can_run("without_any_upstream_connections_are_closed_and_counted_and_the_process_lives") {
        return;
    }
    let (refusing, dark) = Refusing::new();
    let proxy = Proxy::start(&[dark], &["--health-interval", "off"]);
    for count in 1..=5 {
        assert_closed(&proxy.connect());
        until("it is counted", || proxy.errors("no_upstream") == f64::from(count));
    }
    let _upstream = Echoing::start(refusing.listen(), None);
    echo(&mut proxy.connect(), b"hello").unwrap();
    proxy.ends_quietly();
}

#[test]
fn checks_take_an_upstream_out_and_back() {
    if !can_run("checks_take_an_upstream_out_and_back") {
        return;
    }
    let (refusing, ill) = Refusing::new();
    let (listener, well) = upstream();
    let _well = Echoing::start(listener, Some(b'w'));
    let checks = ["--health-interval", "20ms", "--health-fails", "2", "--health-passes", "2"];
    let proxy = Proxy::start(&[ill, well], &checks);
    let greeting = |proxy: &Proxy| {
        let mut greeting = [0];
        proxy.connect().read_exact(&mut greeting).unwrap();
        greeting[0]
    };
    until("it is out", || proxy.value("proxy_upstream_up", &ill.to_string()) == 0.0);
    assert_eq!(proxy.value("proxy_upstream_up", &well.to_string()), 1.0);
    let failed = proxy.errors("connect");
    for _ in 0..10 {
        assert_eq!(greeting(&proxy), b'w');
    }
    assert_eq!(proxy.errors("connect"), failed, "nobody tries it");
    let _ill = Echoing::start(refusing.listen(), Some(b'i'));
    until("it is back", || proxy.value("proxy_upstream_up", &ill.to_string()) == 1.0);
    let greetings: Vec<_> = (0..4).map(|_| greeting(&proxy)).collect();
    assert_eq!(greetings.iter().filter(|&&greeting| greeting == b'i').count(), 2, "{greetings:?}");
    proxy.ends_quietly();
}

#[test]
fn proxy_headers_are_read_and_written_in_both_versions() {
    if !can_run("proxy_headers_are_read_and_written_in_both_versions") {
        return;
    }
    let line: &[u8] = b"PROXY TCP4 10.1.2.3 10.4.5.6 4660 443\r\n";
    let binary: &[u8] = b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\x0a\x01\x02\x03\x0a\x04\x05\x06\x12\x34\x01\xbb";
    let (listener, address) = upstream();
    for (version, expected) in [("v1", line), ("v2", binary)] {
        let proxy =
            Proxy::start(&[address], &["--proxy-protocol", "both", "--proxy-protocol-version", version]);
        for header in [line, binary] {
            let mut client = proxy.connect();
            // In two pieces, and with bytes behind it.
            client.write_all(&header[..9]).unwrap();
            client.write_all(&header[9..]).unwrap();
            client.write_all(b"hello").unwrap();
            client.shutdown(Shutdown::Write).unwrap();
            let mut got = Vec::new();
            accept(&listener).read_to_end(&mut got).unwrap();
            assert_eq!(got, [expected, b"hello"].concat(), "{version}");
        }
        drop(proxy);
    }
}

#[test]
fn a_written_header_names_the_client_itself_where_it_sends_none() {
    if !can_run("a_written_header_names_the_client_itself_where_it_sends_none") {
        return;
    }
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &["--proxy-protocol", "out", "--proxy-protocol-version", "v1"]);
    let client = proxy.connect();
    let from = client.local_addr().unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let mut got = String::new();
    accept(&listener).read_to_string(&mut got).unwrap();
    let to = proxy.address.port();
    assert_eq!(got, format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {to}\r\n", from.port()));
    drop(client);
    proxy.ends_quietly();
}

#[test]
fn a_bad_header_closes_the_connection_and_no_upstream_hears_of_it() {
    if !can_run("a_bad_header_closes_the_connection_and_no_upstream_hears_of_it") {
        return;
    }
    let (listener, address) = upstream();
    let proxy = Proxy::start(&[address], &["--proxy-protocol", "in", "--health-interval", "off"]);
    for bad in
        [b"GET / HTTP/1.1\r\n\r\n".as_slice(), b"PROXY TCP4 1.2.3.4\r\n", b"\r\n\r\n\0\r\nQUIT\n\xff\xff\0\0"]
    {
        let mut client = proxy.connect();
        client.write_all(bad).unwrap();
        assert_closed(&client);
    }
    until("they are counted", || proxy.errors("bad_header") == 3.0);
    listener.set_nonblocking(true).unwrap();
    assert!(listener.accept().is_err(), "nobody came");
    proxy.ends_quietly();
}
