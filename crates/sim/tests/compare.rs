//! The same small scripts on the real kernel and on the simulated one: what Linux answers has to be
//! among the answers that some seed gives.
//!
//! The other direction is not asked: a real kernel that is left alone takes few of its liberties.

mod support;

use std::collections::BTreeSet;
use std::future::Future;
use std::io::Write;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::AsFd;
use std::time::Duration;

use coronet_io::op;
use coronet_ring::{Config, Driver, Nop, Preference, SharedFd, SocketOption};
use coronet_sim::Sim;
use support::{connect_op, listener, number, pair, pass, poll_once, socket, wait};

const SEEDS: u64 = 300;
const REAL_RUNS: usize = 5;
/// Long enough for loopback on a loaded machine.
const SOON: Duration = Duration::from_millis(30);

#[track_caller]
fn compare<T: Ord + std::fmt::Debug>(script: impl Fn(&Driver) -> T) {
    let config = Config { backend: Preference::Uring, ..Config::default() };
    if let Err(error) = Driver::new(config) {
        assert!(std::env::var_os("CORONET_REQUIRE").is_none(), "io_uring is required: {error}");
        let thread = std::thread::current();
        let name = thread.name().unwrap_or("compare");
        // Past the capture of the test harness, to be counted.
        let _ = std::io::stderr().write_all(format!("SKIP {name}: needs io_uring: {error}\n").as_bytes());
        return;
    }
    let simulated: BTreeSet<T> = (0..SEEDS)
        .map(|seed| {
            let sim = Sim::new(seed);
            let driver = sim.driver("main").expect("a driver");
            script(&driver)
        })
        .collect();
    for _ in 0..REAL_RUNS {
        let driver = Driver::new(config).expect("a ring, as above");
        let real = script(&driver);
        assert!(simulated.contains(&real), "Linux answers {real:?}, the simulation {simulated:?}");
    }
}

fn send(driver: &Driver, socket: &SharedFd, bytes: &'static [u8]) -> i32 {
    let send = op::Send::new(socket.clone(), bytes, libc::MSG_WAITALL);
    number(wait(driver, driver.handle().submit(send)).result)
}

fn recv(driver: &Driver, socket: &SharedFd, flags: i32) -> (i32, Vec<u8>) {
    let recv = op::Recv::new(socket.clone(), Vec::with_capacity(8), flags);
    let (result, bytes) = wait(driver, driver.handle().submit(recv));
    (number(result), bytes)
}

#[test]
fn a_nop_and_a_timeout() {
    compare(|driver| {
        let nop = number(wait(driver, driver.handle().submit(Nop)).map(|()| 0));
        (nop, number(wait(driver, driver.handle().submit(op::Timeout::new(SOON))).map(|()| 0)))
    });
}

#[test]
fn a_connection_that_nobody_listens_for() {
    compare(|driver| {
        let (listener, address) = listener(driver);
        drop(listener);
        pass(driver, SOON);
        let socket = socket(driver);
        let first = number(wait(driver, driver.handle().submit(connect_op(&socket, address))).map(|()| 0));
        let peer = driver.handle().system().peer_addr(socket.as_fd()).map(|_| 0);
        (first, number(peer))
    });
}

#[test]
fn bytes_and_the_end_of_a_stream() {
    compare(|driver| {
        let (client, server) = pair(driver);
        let sent = send(driver, &client, b"bytes");
        drop(client);
        pass(driver, SOON);
        (sent, recv(driver, &server, libc::MSG_WAITALL), recv(driver, &server, 0))
    });
}

#[test]
fn a_look_at_bytes_that_stay() {
    compare(|driver| {
        let (client, server) = pair(driver);
        send(driver, &client, b"bytes");
        pass(driver, SOON);
        (recv(driver, &server, libc::MSG_PEEK), recv(driver, &server, 0))
    });
}

#[test]
fn a_close_with_unread_bytes() {
    compare(|driver| {
        let (client, server) = pair(driver);
        send(driver, &client, b"unread");
        pass(driver, SOON);
        drop(server);
        pass(driver, SOON);
        let received = (recv(driver, &client, 0), recv(driver, &client, 0));
        (received, send(driver, &client, b"x"))
    });
}

#[test]
fn bytes_before_a_reset() {
    compare(|driver| {
        let (client, server) = pair(driver);
        send(driver, &client, b"unread");
        send(driver, &server, b"answer");
        pass(driver, SOON);
        drop(server);
        pass(driver, SOON);
        (recv(driver, &client, libc::MSG_WAITALL), recv(driver, &client, 0), recv(driver, &client, 0))
    });
}

#[test]
fn writes_to_a_peer_that_is_gone() {
    compare(|driver| {
        let (client, server) = pair(driver);
        drop(server);
        pass(driver, SOON);
        let first = send(driver, &client, b"x");
        pass(driver, SOON);
        (first, send(driver, &client, b"x"), send(driver, &client, b"x"), recv(driver, &client, 0).0)
    });
}

#[test]
fn the_end_of_one_direction() {
    compare(|driver| {
        let (client, server) = pair(driver);
        let handle = driver.handle();
        let shut = number(handle.system().shutdown(client.as_fd(), Shutdown::Write).map(|()| 0));
        let write = send(driver, &client, b"x");
        let end = recv(driver, &server, 0).0;
        let answer = send(driver, &server, b"answer");
        (shut, write, end, answer, recv(driver, &client, libc::MSG_WAITALL | libc::MSG_PEEK).0 > 0)
    });
}

#[test]
fn a_shutdown_of_a_socket_without_a_peer() {
    compare(|driver| {
        let socket = socket(driver);
        let handle = driver.handle();
        let system = handle.system();
        let shut = number(system.shutdown(socket.as_fd(), Shutdown::Both).map(|()| 0));
        let peer = number(system.peer_addr(socket.as_fd()).map(|_| 0));
        (shut, peer, recv(driver, &socket, 0).0, send(driver, &socket, b"x"))
    });
}

#[test]
fn a_cancel_of_what_waits() {
    compare(|driver| {
        let (_client, server) = pair(driver);
        let recv = driver.handle().submit(op::Recv::new(server, Vec::with_capacity(8), 0));
        pass(driver, SOON);
        recv.request_cancel();
        number(wait(driver, recv).0)
    });
}

#[test]
fn a_cancel_of_a_receive_that_has_a_part() {
    compare(|driver| {
        let (client, server) = pair(driver);
        let recv = op::Recv::new(server, Vec::with_capacity(8), libc::MSG_WAITALL);
        let recv = driver.handle().submit(recv);
        pass(driver, SOON);
        send(driver, &client, b"123");
        pass(driver, SOON);
        recv.request_cancel();
        let (result, bytes) = wait(driver, recv);
        (number(result), bytes)
    });
}

#[test]
fn a_cancel_of_an_accept_and_of_a_timeout() {
    compare(|driver| {
        let (listener, _) = listener(driver);
        let accept = driver.handle().submit(op::Accept::new(listener));
        let timeout = driver.handle().submit(op::Timeout::new(Duration::from_secs(3600)));
        pass(driver, SOON);
        accept.request_cancel();
        timeout.request_cancel();
        let accepted = number(wait(driver, accept).map(|_| 0));
        (accepted, number(wait(driver, timeout).map(|()| 0)))
    });
}

#[test]
fn an_accept_on_a_socket_that_does_not_listen() {
    compare(|driver| {
        let socket = socket(driver);
        number(wait(driver, driver.handle().submit(op::Accept::new(socket))).map(|_| 0))
    });
}

#[test]
fn a_second_connect_of_a_socket() {
    compare(|driver| {
        let (listener, address) = listener(driver);
        let socket = socket(driver);
        let first = number(wait(driver, driver.handle().submit(connect_op(&socket, address))).map(|()| 0));
        let second = number(wait(driver, driver.handle().submit(connect_op(&socket, address))).map(|()| 0));
        drop(listener);
        (first, second)
    });
}

#[test]
fn an_address_that_is_taken_shared_or_nobodys() {
    compare(|driver| {
        let (_listener, address) = listener(driver);
        let handle = driver.handle();
        let system = handle.system();
        let bind = |address: SocketAddr, shares: bool| {
            let socket = socket(driver);
            system.set_option(socket.as_fd(), SocketOption::ReusePort(shares)).expect("a socket");
            number(system.bind(socket.as_fd(), address).map(|()| 0))
        };
        let foreign = SocketAddr::from(([192, 0, 2, 1], 0));
        (bind(address, false), bind(address, true), bind(foreign, false))
    });
}

#[test]
fn what_a_poll_sees() {
    compare(|driver| {
        let (client, server) = pair(driver);
        let poll = |socket: &SharedFd, events: i16| {
            number(wait(driver, driver.handle().submit(op::Poll::new(socket.clone(), events as u32))))
        };
        let room = poll(&client, libc::POLLIN | libc::POLLOUT);
        send(driver, &client, b"x");
        pass(driver, SOON);
        let bytes = poll(&server, libc::POLLIN);
        drop(client);
        pass(driver, SOON);
        (room, bytes, poll(&server, libc::POLLIN | libc::POLLRDHUP))
    });
}

#[test]
fn a_poll_of_a_listener() {
    compare(|driver| {
        let (listener, address) = listener(driver);
        let mut poll = driver.handle().submit(op::Poll::new(listener, libc::POLLIN as u32));
        pass(driver, SOON);
        let before = poll_once(&mut poll).is_pending();
        let client = socket(driver);
        wait(driver, driver.handle().submit(connect_op(&client, address))).expect("a listener");
        (before, number(wait(driver, poll)))
    });
}

#[test]
fn a_connection_names_both_ends() {
    compare(|driver| {
        let (client, server) = pair(driver);
        let handle = driver.handle();
        let system = handle.system();
        let ends = |socket: &SharedFd| {
            let local = system.local_addr(socket.as_fd()).expect("bound");
            (local, system.peer_addr(socket.as_fd()).expect("connected"))
        };
        let ((from, to), (local, remote)) = (ends(&client), ends(&server));
        (from == remote, to == local, from.ip(), to.ip())
    });
}

#[test]
fn a_receive_that_may_not_wait() {
    compare(|driver| {
        let (_client, server) = pair(driver);
        recv(driver, &server, libc::MSG_DONTWAIT).0
    });
}

#[test]
fn a_receive_into_nothing() {
    compare(|driver| {
        let (_client, server) = pair(driver);
        let mut recv = driver.handle().submit(op::Recv::new(server, Vec::with_capacity(0), 0));
        for _ in 0..20 {
            driver.turn(Some(Duration::from_millis(1))).expect("it goes on");
        }
        match std::pin::Pin::new(&mut recv)
            .poll(&mut std::task::Context::from_waker(std::task::Waker::noop()))
        {
            std::task::Poll::Ready((result, _)) => Some(number(result)),
            std::task::Poll::Pending => None,
        }
    });
}
