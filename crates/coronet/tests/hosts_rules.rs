//! What the rest of a process does to itself does not matter, or matters as it should: how it takes SIGPIPE, and
//! whose rights it has. On both backends.

#![allow(unsafe_code, reason = "sets what SIGPIPE does, which no safe wrapper offers")]

mod support;

use std::future::Future;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener as StdListener, TcpStream as StdStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::mpsc;

use coronet::net::{TcpListener, TcpStream, relay};
use coronet::{Backend, Builder, Cores, Runtime};
use rustix::process::{Gid, Uid, geteuid};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};
use support::{child, hang, reset, runtime_or_skip, std_pair};

/// The backends that there are here, with a line for those that are not.
fn builders() -> Vec<Builder> {
    let builders = [Backend::Uring, Backend::Epoll].map(|backend| Runtime::builder().backend(backend));
    builders.into_iter().filter(|builder| runtime_or_skip(builder.clone()).is_some()).collect()
}

const ROLE: &str = "CORONET_TEST_SIGPIPE";

/// The trap: Rust ignores the signal at the start of a program, so nobody notices a call that raises it, until the
/// program is a library of another one.
#[test]
fn where_sigpipe_would_end_the_process_a_peer_that_is_gone_is_an_error_and_no_more() {
    const NAME: &str = "where_sigpipe_would_end_the_process_a_peer_that_is_gone_is_an_error_and_no_more";
    if std::env::var_os(ROLE).is_some() {
        return writes_to_peers_that_are_gone();
    }
    let output = child(NAME, (ROLE, "1")).output().expect("it starts");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(
        output.status.success(),
        "{:?}: {said}{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    assert!(said.contains("it lives"), "{said}");
}

fn writes_to_peers_that_are_gone() {
    // SAFETY: [signal-default] the default action is no code of ours, and this process is the test's own.
    let before = unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
    assert_ne!(before, libc::SIG_ERR);
    for builder in builders() {
        let runtime = builder.build().expect("as just now");
        let limited = async |future: std::pin::Pin<Box<dyn Future<Output = ()>>>| {
            coronet::time::timeout(hang(), future).await.expect("the test does not hang");
        };
        runtime.block_on(limited(Box::pin(async {
            let stream = gone();
            let (sent, _) = stream.write_all(vec![1; 1000]).await;
            assert_eq!(sent.expect_err("nobody reads").kind(), ErrorKind::BrokenPipe, "send");
            let stream = gone();
            let (sent, _) = stream.write_vectored([vec![1; 10], vec![2; 10]]).await;
            assert_eq!(sent.expect_err("nobody reads").kind(), ErrorKind::BrokenPipe, "sendmsg");
        })));
        runtime.block_on(limited(Box::pin(relays_bulk_to_a_peer_that_goes())));
        println!("it lives on {}", runtime.backend().name);
    }
}

/// A stream whose next write says `EPIPE`: the peer has ended its direction first, and then reset.
fn gone() -> TcpStream {
    let (ours, peer) = std_pair();
    let ours_too = ours.try_clone().expect("a descriptor");
    end_and_reset(peer, &ours_too);
    TcpStream::from(ours)
}

/// The reset of a peer that has ended before is `EPIPE` at once, and not `ECONNRESET` once.
fn end_and_reset(peer: StdStream, ours: &StdStream) {
    peer.shutdown(Shutdown::Write).expect("connected");
    assert_eq!((&*ours).read(&mut [0]).expect("the end"), 0);
    reset(peer);
}

/// Enough for a relay to splice, if it does at all; the receiver goes in the middle.
async fn relays_bulk_to_a_peer_that_goes() {
    let ((a, mut client), (b, mut server)) = (std_pair(), std_pair());
    SockRef::from(&client).set_send_buffer_size(1 << 20).expect("an option");
    let b_too = b.try_clone().expect("a descriptor");
    let sender = std::thread::spawn(move || {
        // It ends when the relay does.
        while client.write_all(&[7; 1 << 16]).is_ok() {}
    });
    let receiver = std::thread::spawn(move || {
        let mut left = 32 << 20;
        let mut bytes = vec![0; 1 << 16];
        while left > 0 {
            left -= server.read(&mut bytes).expect("bytes").min(left);
        }
        server.shutdown(Shutdown::Write).expect("connected");
        drop(b_too);
        reset(server);
    });
    let (a, b) = (TcpStream::from(a), TcpStream::from(b));
    let failed = relay(&a, &b).await.expect_err("the receiver goes");
    let kinds = [ErrorKind::BrokenPipe, ErrorKind::ConnectionReset];
    assert!(kinds.contains(&failed.error.kind()), "{failed:?}");
    drop((a, b));
    // Off the core: it closes what was dropped when it turns.
    let joined = coronet::task::spawn_blocking(move || sender.join().and(receiver.join())).await;
    joined.expect("it runs").expect("no panic");
}

/// A socket behind a door that only root may open.
struct Door {
    room: PathBuf,
    path: PathBuf,
    _listener: UnixListener,
}

impl Door {
    fn new() -> Self {
        use std::os::unix::fs::DirBuilderExt;
        let room = std::env::temp_dir().join(format!("coronet-door-{}", std::process::id()));
        let _ = std::fs::remove_dir_all(&room);
        std::fs::DirBuilder::new().mode(0o700).create(&room).expect("a directory");
        let path = room.join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        Self { room, path, _listener: listener }
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.room);
    }
}

/// Connects through the ring; the errno, or zero.
async fn knock(path: &Path) -> i32 {
    let socket = Socket::new(Domain::UNIX, Type::STREAM, None).expect("a socket");
    let socket = coronet::ring::SharedFd::new(OwnedFd::from(socket));
    let address = SockAddr::unix(path).expect("a short path");
    let connect = coronet::ring::op::Connect::new(socket, &address);
    match coronet::ring::current().handle().submit(connect).await {
        Ok(()) => 0,
        Err(error) => coronet::ring::error::errno(&error).expect("an errno"),
    }
}

/// Makes the calling thread one of nobody's. A program does it to all of its threads at once, with `setuid(2)` of
/// its C library; here the others go on as root.
fn become_nobody() {
    const NOBODY: u32 = 65_534;
    rustix::thread::set_thread_groups(&[]).expect("root may");
    let group = Gid::from_raw(NOBODY);
    rustix::thread::set_thread_res_gid(group, group, group).expect("root may");
    let user = Uid::from_raw(NOBODY);
    rustix::thread::set_thread_res_uid(user, user, user).expect("root may");
}

/// The trap: a ring remembers who made it. What is asked of it later has to count as asked by who asks then.
#[test]
fn who_drops_roots_rights_serves_on_a_privileged_port_and_may_no_more_than_nobody() {
    const CORES: usize = 2;
    if !geteuid().is_root() {
        return support::skip("only root has rights to drop");
    }
    for builder in builders() {
        let door = Door::new();
        let free = (600..1024).rev().find_map(|port| StdListener::bind((Ipv4Addr::LOCALHOST, port)).ok());
        let listener = std::sync::Arc::new(free.expect("a free port below 1024"));
        let address = listener.local_addr().expect("bound");
        let (tell, told) = mpsc::channel();
        let path = door.path.clone();
        let running = Cores::count(CORES).pinned(false).builder(builder).start(move |core| {
            let listener = listener.try_clone().expect("a descriptor");
            let (tell, path) = (tell.clone(), path.clone());
            async move {
                let before = knock(&path).await;
                become_nobody();
                let after = knock(&path).await;
                let beside = {
                    let path = path.clone();
                    coronet::task::spawn_blocking(move || std::os::unix::net::UnixStream::connect(path).err())
                };
                let beside = beside.await.expect("no panic").and_then(|error| error.raw_os_error());
                tell.send((before, after, beside)).expect("somebody waits");
                let listener = TcpListener::from(listener);
                let serving = async {
                    loop {
                        let (stream, _) = listener.accept().await.expect("a client");
                        drop(coronet::spawn(async move { coronet::io::forward(&stream, &stream).await }));
                    }
                };
                let stopped = core.shutdown_requested();
                futures_util::future::select(Box::pin(serving), Box::pin(stopped)).await;
                assert!(StdListener::bind((Ipv4Addr::LOCALHOST, 599)).is_err(), "nobody may not");
            }
        });
        let running = running.expect("started");
        for _ in 0..CORES {
            let told = told.recv_timeout(hang()).expect("a core");
            assert_eq!(told, (0, libc::EACCES, Some(libc::EACCES)), "before, after, and on a thread beside");
        }
        for round in 0..10 {
            let mut client = StdStream::connect(address).expect("it listens");
            client.set_read_timeout(Some(hang())).expect("a limit");
            client.write_all(&[round; 100]).expect("sent");
            let mut back = [0; 100];
            client.read_exact(&mut back).expect("echoed");
            assert_eq!(back, [round; 100]);
        }
        running.shutdown(hang());
        for result in running.join() {
            result.expect("no panic");
        }
    }
}
