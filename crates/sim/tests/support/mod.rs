//! A driver that is turned by hand, on either kernel, and sockets for it.

#![allow(dead_code, reason = "each test binary uses a part")]

use std::future::Future;
use std::net::SocketAddr;
use std::os::fd::AsFd;
use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coronet_io::op;
use coronet_ring::{Driver, SharedFd};

/// Polls once.
pub(crate) fn poll_once<F: Future + Unpin>(future: &mut F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// Turns the driver until the future is ready.
#[track_caller]
pub(crate) fn wait<F: Future>(driver: &Driver, future: F) -> F::Output {
    let mut future = pin!(future);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        driver.turn(Some(Duration::from_secs(20))).expect("the driver goes on");
    }
}

/// Lets time pass.
pub(crate) fn pass(driver: &Driver, time: Duration) {
    wait(driver, driver.handle().submit(op::Timeout::new(time))).expect("a timeout");
}

pub(crate) fn listener(driver: &Driver) -> (SharedFd, SocketAddr) {
    let handle = driver.handle();
    let system = handle.system();
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    let socket = system.tcp_socket(any).expect("a socket");
    system.bind(socket.as_fd(), any).expect("a free port");
    system.listen(socket.as_fd(), 16).expect("a listener");
    let address = system.local_addr(socket.as_fd()).expect("bound");
    (SharedFd::new(socket), address)
}

pub(crate) fn socket(driver: &Driver) -> SharedFd {
    let any = SocketAddr::from(([127, 0, 0, 1], 0));
    SharedFd::new(driver.handle().system().tcp_socket(any).expect("a socket"))
}

pub(crate) fn connect_op(socket: &SharedFd, address: SocketAddr) -> op::Connect {
    op::Connect::new(socket.clone(), &address.into())
}

/// Both ends of a connection.
pub(crate) fn pair(driver: &Driver) -> (SharedFd, SharedFd) {
    let (listener, address) = listener(driver);
    let client = socket(driver);
    let connect = driver.handle().submit(connect_op(&client, address));
    let server = loop {
        // Descriptors may run out for a moment: the client waits in the backlog.
        if let Ok(fd) = wait(driver, driver.handle().submit(op::Accept::new(listener.clone()))) {
            break SharedFd::new(fd);
        }
    };
    wait(driver, connect).expect("a listener");
    (client, server)
}

/// The negated errno, or the count.
pub(crate) fn number<T: TryInto<i32>>(result: std::io::Result<T>) -> i32 {
    match result {
        Ok(value) => value.try_into().unwrap_or(i32::MAX),
        Err(error) => -error.raw_os_error().unwrap_or(i32::MAX),
    }
}
