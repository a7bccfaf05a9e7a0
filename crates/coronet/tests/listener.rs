//! Listening on the real kernel: addresses that are taken, descriptors that run out, and
//! connections that are handed back.

mod support;

use std::future::poll_fn;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpListener as StdListener, TcpStream as StdStream};
use std::pin::pin;

use coronet::net::{ListenOptions, TcpListener, TcpStream};
use coronet::{Backend, Runtime, metrics};
use futures_util::StreamExt;
use futures_util::future::poll_immediate;
use rustix::fs::{OFlags, fcntl_getfl};
use rustix::process::{Resource, Rlimit, setrlimit};
use support::{alone, beside, child, hang, runtime_or_skip, settle, world};

const HERE: &str = "127.0.0.1:0";

fn here() -> SocketAddr {
    HERE.parse().unwrap()
}

#[test]
fn a_group_listens_on_one_port_that_is_chosen_once() {
    let _alone = alone();
    let group = ListenOptions::default().bind_group(here(), 4).unwrap();
    let addresses: Vec<_> = group.iter().map(|socket| socket.local_addr().unwrap()).collect();
    assert_ne!(addresses[0].port(), 0);
    assert_eq!(addresses, [addresses[0]; 4]);
}

#[test]
fn a_group_on_an_address_that_is_taken_is_an_error_that_names_it() {
    let _alone = alone();
    let taken = StdListener::bind(HERE).unwrap();
    let group = ListenOptions::default().bind_group(here(), 2).unwrap();
    for address in [taken.local_addr().unwrap(), group[0].local_addr().unwrap()] {
        let error = ListenOptions::default().bind_group(address, 2).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        let text = error.to_string();
        assert!(text.contains(&address.to_string()), "{text}");
        assert!(text.ends_with("another process listens there"), "{text}");
    }
    // The two that refused left nothing behind.
    let address = group[0].local_addr().unwrap();
    drop(group);
    assert!(ListenOptions::default().bind_group(address, 3).is_ok());
}

#[test]
fn an_address_that_cannot_be_bound_is_an_error_that_says_why() {
    world(async {
        let first = TcpListener::bind(HERE).await.unwrap();
        let address = first.local_addr().unwrap();
        let error = TcpListener::bind(address).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrInUse);
        assert!(error.to_string().contains(&address.to_string()), "{error}");
        // TEST-NET-1 belongs to no machine.
        let error = TcpListener::bind("192.0.2.1:0").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AddrNotAvailable);
        assert!(error.to_string().contains("no interface"), "{error}");
        let shared = ListenOptions::default().reuse_port(true);
        let one = shared.bind(HERE).await.unwrap();
        let two = shared.bind(one.local_addr().unwrap()).await.unwrap();
        assert_eq!(one.local_addr().unwrap(), two.local_addr().unwrap());
    });
}

/// The trap: these clients were accepted by the kernel, and nobody has asked for them yet.
#[test]
fn closing_a_listener_hands_back_the_connections_that_nobody_had_taken() {
    world(async {
        // Without it connections are accepted when somebody asks: none waits to be taken.
        if !support::can(&["accept_multi"]) {
            return;
        }
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_immediate(listener.accept()).await.is_none(), "it is armed");
        let clients: Vec<_> = (0..100).map(|_| StdStream::connect(address).unwrap()).collect();
        let (_taken, _) = listener.accept().await.unwrap();
        let left = listener.close().await;
        assert_eq!(left.len(), 99);
        assert!(TcpStream::connect(address).await.is_err(), "it listens no more");
        let mut ports: Vec<_> = left.iter().map(|stream| stream.peer_addr().unwrap().port()).collect();
        let mut expected: Vec<_> = clients[1..].iter().map(|s| s.local_addr().unwrap().port()).collect();
        ports.sort_unstable();
        expected.sort_unstable();
        assert_eq!(ports, expected);
        for stream in &left {
            stream.write_all("bye").await.0.unwrap();
        }
    });
}

#[test]
fn dropping_a_listener_closes_the_connections_that_nobody_had_taken() {
    world(async {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_immediate(listener.accept()).await.is_none());
        let clients: Vec<_> = (0..50).map(|_| StdStream::connect(address).unwrap()).collect();
        let (taken, _) = listener.accept().await.unwrap();
        drop((listener, taken));
        settle().await;
        for mut client in clients {
            client.set_read_timeout(Some(hang())).unwrap();
            // The end, or a reset where the kernel had not accepted yet: not a client left hanging.
            let end = client.read(&mut [0; 1]);
            assert!(
                end.as_ref().is_ok_and(|count| *count == 0)
                    || end.is_err_and(|error| error.kind() == ErrorKind::ConnectionReset)
            );
        }
    });
}

#[test]
fn clients_that_are_gone_before_they_are_taken_do_not_end_the_listener() {
    world(async {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut incoming = std::pin::pin!(listener.incoming());
        for _ in 0..100 {
            support::reset(StdStream::connect(address).unwrap());
        }
        let last = StdStream::connect(address).unwrap();
        let port = last.local_addr().unwrap().port();
        loop {
            let stream = incoming.next().await.unwrap().unwrap();
            if stream.peer_addr().is_ok_and(|peer| peer.port() == port) {
                break;
            }
        }
    });
}

#[test]
fn a_second_accept_is_refused_and_the_first_goes_on() {
    world(async {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut first = std::pin::pin!(listener.accept());
        assert!(poll_immediate(first.as_mut()).await.is_none());
        assert_eq!(listener.accept().await.unwrap_err().kind(), ErrorKind::ResourceBusy);
        let client = beside(move || StdStream::connect(address).unwrap()).await;
        assert_eq!(first.await.unwrap().1, client.local_addr().unwrap());
    });
}

/// The trap: more clients than the listener keeps for those who are slow to take them.
#[test]
fn two_thousand_clients_that_come_before_the_first_accept_are_all_served() {
    const CLIENTS: usize = 2_000;
    world(async {
        let listener = TcpListener::bind(HERE).await.unwrap();
        let address = listener.local_addr().unwrap();
        assert!(poll_immediate(listener.accept()).await.is_none());
        let clients =
            beside(move || (0..CLIENTS).map(|_| StdStream::connect(address).unwrap()).collect::<Vec<_>>())
                .await;
        for _ in 0..CLIENTS {
            let (stream, _) = listener.accept().await.unwrap();
            stream.write_all("served").await.0.unwrap();
            stream.close().await.unwrap();
        }
        assert!(poll_immediate(listener.accept()).await.is_none());
        for mut client in clients {
            let mut heard = Vec::new();
            client.set_read_timeout(Some(hang())).unwrap();
            client.read_to_end(&mut heard).unwrap();
            assert_eq!(heard, b"served");
        }
    });
}

const SHORT_OF_DESCRIPTORS: &str = "CORONET_TEST_SHORT_OF_DESCRIPTORS";

/// The trap: without a descriptor there is nobody to turn away either. Waiting is all that is left,
/// and asking again and again is not waiting.
#[test]
fn without_descriptors_accept_neither_ends_nor_spins_and_serves_all_in_the_end() {
    const CLIENTS: usize = 200;
    if std::env::var_os(SHORT_OF_DESCRIPTORS).is_some() {
        return serve_short_of_descriptors(CLIENTS);
    }
    let alone = alone();
    if runtime_or_skip(Runtime::builder()).is_none() {
        return;
    }
    let name = "without_descriptors_accept_neither_ends_nor_spins_and_serves_all_in_the_end";
    let mut server = child(name, (SHORT_OF_DESCRIPTORS, "1")).spawn().unwrap();
    let mut lines = BufReader::new(server.stderr.take().unwrap()).lines();
    let mut line_with = |start: &str| {
        let found = lines.find_map(|line| line.unwrap().strip_prefix(start).map(str::to_owned));
        found.unwrap_or_else(|| panic!("it ended before it said {start:?}"))
    };
    let address: SocketAddr = line_with("listens on ").parse().unwrap();
    let clients: Vec<_> = (0..CLIENTS)
        .map(|_| {
            let mut client = StdStream::connect(address).unwrap();
            client.set_read_timeout(Some(hang())).unwrap();
            client.write_all(b"ping").unwrap();
            client
        })
        .collect();
    // All are there, and nobody goes before it has waited for a descriptor again and again.
    line_with("waited ");
    for mut client in clients {
        let mut heard = [0; 4];
        client.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"ping");
    }
    assert!(server.wait().unwrap().success(), "{:?}", lines.collect::<Vec<_>>());
    drop(alone);
}

const DESCRIPTORS: u64 = 40;
/// So many pauses in a row are 5 ms and its doubles, 1.3 s together.
const PAUSES: u64 = 8;

fn serve_short_of_descriptors(clients: usize) {
    world(async move {
        let listener = TcpListener::bind(HERE).await.unwrap();
        setrlimit(Resource::Nofile, Rlimit { current: Some(DESCRIPTORS), maximum: Some(DESCRIPTORS) })
            .unwrap();
        eprintln!("listens on {}", listener.local_addr().unwrap());
        let mut tasks = coronet::task::JoinSet::new();
        for _ in 0..clients {
            let stream = accept_and_count(&listener).await;
            let _ = tasks.spawn(async move {
                // Until the client goes: it keeps its descriptor, and others have to wait.
                let _ = coronet::io::forward(&stream, &stream).await;
            });
        }
        while let Some(served) = tasks.join_next().await {
            served.unwrap();
        }
        let throttled = listener.throttled();
        assert!((PAUSES..60).contains(&throttled), "it paused {throttled} times");
    });
}

/// Accepts, and counts what the core does until [`PAUSES`] pauses are over in which no descriptor came free.
/// Counted, and not timed: a busy machine makes none of it more.
async fn accept_and_count(listener: &TcpListener) -> TcpStream {
    // A pause: the accept that fails, the timer that runs out. One of a client that is served meanwhile: its bytes
    // come, go, and its next receive waits.
    const TURNS: u64 = 4 * PAUSES + 4 * DESCRIPTORS;
    let (before, paused) = (metrics(), listener.throttled());
    let (mut accept, mut asked, mut said) = (pin!(listener.accept()), 0, false);
    let accepted = poll_fn(|cx| {
        asked += 1;
        let accepted = accept.as_mut().poll(cx);
        if listener.throttled() - paused > PAUSES && !said {
            said = true;
            let (enters, polls) = (metrics().enters - before.enters, metrics().polls - before.polls);
            // Twice for each pause, and once at its beginning.
            assert!(asked <= 2 * PAUSES + 4, "accept was asked {asked} times in {PAUSES} pauses");
            assert!(enters <= TURNS, "{enters} system calls in {PAUSES} pauses");
            assert!(polls <= TURNS, "tasks were polled {polls} times in {PAUSES} pauses");
            eprintln!(
                "waited {PAUSES} pauses: accept asked {asked} times, {enters} system calls, {polls} polls"
            );
        }
        accepted
    });
    accepted.await.unwrap().0
}

/// The trap: the mode belongs to the open file. A core that puts a shared listener into blocking mode, be it for a
/// moment, may leave another one asleep in accept(2), with all that it serves.
#[test]
fn on_epoll_a_shared_listener_does_not_wait_whoever_joins_or_leaves() {
    let _alone = alone();
    let socket = StdListener::bind(HERE).unwrap();
    let address = socket.local_addr().unwrap();
    let waits = || !fcntl_getfl(&socket).unwrap().contains(OFlags::NONBLOCK);
    let runtime = || Runtime::builder().backend(Backend::Epoll).build().unwrap();
    let join = || TcpListener::from(socket.try_clone().unwrap());
    // Two runtimes, as two cores have them.
    let (ours, theirs) = (runtime(), runtime());
    let first = ours.block_on(async {
        let first = join();
        assert!(poll_immediate(first.accept()).await.is_none());
        first
    });
    theirs.block_on(async {
        let second = join();
        assert!(!waits(), "one has joined");
        assert!(poll_immediate(second.accept()).await.is_none());
        let client = StdStream::connect(address).unwrap();
        let (stream, peer) = second.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        assert!(second.close().await.is_empty());
        assert!(!waits(), "one has left");
        drop(stream);
    });
    ours.block_on(async {
        let client = StdStream::connect(address).unwrap();
        let (stream, peer) = first.accept().await.unwrap();
        assert_eq!(peer, client.local_addr().unwrap());
        drop((stream, first));
        settle().await;
    });
    assert!(!waits(), "others may go on");
}

/// The trap: a connection wakes one of those who accept from a socket. If that one is just being closed, the
/// other, to which the socket belongs from now on, has to hear of it all the same.
#[test]
fn close_hands_back_what_waits_in_the_backlog_and_a_clone_goes_on() {
    world(async {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let other = TcpListener::from(socket.try_clone().unwrap());
        let listener = TcpListener::from(socket);
        // Never armed: only the backlog has them.
        let waiting: Vec<_> = (0..3).map(|_| std::net::TcpStream::connect(address).unwrap()).collect();
        let left = listener.close().await;
        assert_eq!(left.len(), 3);
        let late = std::net::TcpStream::connect(address).unwrap();
        let (_stream, peer) = coronet::time::timeout(hang(), other.accept()).await.unwrap().unwrap();
        assert_eq!(peer, late.local_addr().unwrap());
        drop((waiting, left));
        assert!(other.close().await.is_empty());
    });
}
