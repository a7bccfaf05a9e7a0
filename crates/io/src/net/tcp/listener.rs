//! A listening socket. The connections that the kernel accepted belong to it, until
//! somebody takes them.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::SocketAddr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use coronet_ring::{OpFuture, OpStream, RealSystem, SharedFd, SocketOption, System};
use futures_core::Stream;

use super::TcpStream;
use super::socket::Socket;
use crate::context;
use crate::net::resolve::{ToAddrs, lookup_host};
use crate::net::turn::Turn;
use crate::op;

/// The kernel cuts it to `net.core.somaxconn`, 4096 since 5.4.
const BACKLOG: i32 = 4096;
/// The first and the longest pause when descriptors or memory ran out.
const PAUSE: (Duration, Duration) = (Duration::from_millis(5), Duration::from_secs(1));

/// How to listen.
#[derive(Clone, Copy, Debug)]
pub struct ListenOptions {
    backlog: i32,
    reuse_port: bool,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self { backlog: BACKLOG, reuse_port: false }
    }
}

impl ListenOptions {
    /// Connections that may wait in the kernel; it cuts this to `net.core.somaxconn`. 4096 by default.
    #[must_use]
    pub fn backlog(self, backlog: u32) -> Self {
        Self { backlog: i32::try_from(backlog).unwrap_or(i32::MAX), ..self }
    }

    /// Lets other sockets of the same user listen on the same port (`SO_REUSEPORT`); the kernel spreads
    /// connections over them. Off by default, so that a port in use is noticed.
    #[must_use]
    pub fn reuse_port(self, reuse_port: bool) -> Self {
        Self { reuse_port, ..self }
    }

    /// Listens on the first of `addr` that can be bound.
    ///
    /// # Cancellation
    /// Safe.
    ///
    /// # Errors
    /// `AddrInUse`, `AddrNotAvailable`, `PermissionDenied` (ports below 1024), with the address in
    /// the text; those of [`lookup_host`].
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn bind(self, addr: impl ToAddrs) -> io::Result<TcpListener> {
        let mut refusal = None;
        for address in lookup_host(addr).await? {
            match self.bind_one(address) {
                Ok(listener) => return Ok(TcpListener::from(listener)),
                Err(error) => refusal = Some(error),
            }
        }
        Err(refusal.unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address to listen on")))
    }

    /// Sockets for `count` cores that listen on one address together; the kernel spreads connections over
    /// them. Give each core its own, as `TcpListener::from`.
    ///
    /// Needs no runtime, so that a program can tell whether its address is free before it starts cores.
    /// The first socket is bound alone: unlike with [`Self::reuse_port`] everywhere, an address that
    /// another process listens on is an error. Port 0 is chosen once, for all.
    ///
    /// # Errors
    /// As for [`Self::bind`].
    pub fn bind_group(self, address: SocketAddr, count: usize) -> io::Result<Vec<std::net::TcpListener>> {
        match context::try_current() {
            Some(context) => self.bind_group_on(context.handle().system(), address, count),
            None => self.bind_group_on(&RealSystem, address, count),
        }
    }

    fn bind_group_on(
        self,
        system: &dyn System,
        address: SocketAddr,
        count: usize,
    ) -> io::Result<Vec<std::net::TcpListener>> {
        let alone = raw_socket(system, address)?;
        let named = |error| listen_error(address, error);
        system.bind(alone.as_fd(), address).map_err(named)?;
        // After the bind, so that it noticed others; before listening, so that these join.
        system.set_option(alone.as_fd(), SocketOption::ReusePort(true))?;
        let address = system.local_addr(alone.as_fd())?;
        let mut group = vec![alone];
        for _ in 1..count {
            let socket = raw_socket(system, address)?;
            system.set_option(socket.as_fd(), SocketOption::ReusePort(true))?;
            system.bind(socket.as_fd(), address).map_err(named)?;
            group.push(socket);
        }
        for socket in &group {
            system.listen(socket.as_fd(), self.backlog).map_err(named)?;
        }
        Ok(group.into_iter().map(Into::into).collect())
    }

    fn bind_one(self, address: SocketAddr) -> io::Result<std::net::TcpListener> {
        let context = context::current();
        let system = context.handle().system();
        let socket = raw_socket(system, address)?;
        system.set_option(socket.as_fd(), SocketOption::ReusePort(self.reuse_port))?;
        let named = |error| listen_error(address, error);
        system.bind(socket.as_fd(), address).map_err(named)?;
        system.listen(socket.as_fd(), self.backlog).map_err(named)?;
        Ok(socket.into())
    }
}

fn raw_socket(system: &dyn System, address: SocketAddr) -> io::Result<OwnedFd> {
    let socket = system.tcp_socket(address)?;
    // A restarted server may listen while old connections linger.
    system.set_option(socket.as_fd(), SocketOption::ReuseAddress(true))?;
    Ok(socket)
}

fn listen_error(address: SocketAddr, error: io::Error) -> io::Error {
    let advice = match error.kind() {
        io::ErrorKind::AddrInUse => "another process listens there",
        io::ErrorKind::PermissionDenied => "ports below 1024 need a privilege",
        io::ErrorKind::AddrNotAvailable => "no interface of this machine has that address",
        _ => "",
    };
    coronet_ring::error::named_with(format!("listen on {address}"), advice, error)
}

enum Source {
    Idle,
    Multishot(OpStream<op::AcceptMulti>),
    Once(OpFuture<op::Accept>),
    /// Descriptors or memory ran out: wait, and try again.
    Pause(OpFuture<op::Timeout>),
}

/// A listening TCP socket.
///
/// Dropping it closes the connections that it had accepted and nobody had taken. Where others accept
/// from the same socket (a `dup`, another process), end it with [`Self::close`] instead: io_uring waits
/// for a connection as the only one to be woken, and one that arrives while the wait is being cancelled
/// would stay in the backlog, unknown to the others, until the next one comes.
pub struct TcpListener {
    socket: Socket,
    source: RefCell<Source>,
    pause: Cell<Duration>,
    throttled: Cell<u64>,
    turn: Turn,
}

impl TcpListener {
    /// Listens on the first of `addr` that can be bound, with the defaults of [`ListenOptions`].
    ///
    /// # Cancellation
    /// Safe.
    ///
    /// # Errors
    /// As for [`ListenOptions::bind`].
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn bind(addr: impl ToAddrs) -> io::Result<Self> {
        ListenOptions::default().bind(addr).await
    }

    /// How to listen.
    pub fn options() -> ListenOptions {
        ListenOptions::default()
    }

    /// Takes the next connection, and the address of its peer.
    ///
    /// When descriptors or memory run out, it waits, between 5 ms and 1 s, and tries again: clients stay
    /// in the kernel's backlog meanwhile. Connections that broke before they were taken are passed over.
    ///
    /// # Cancellation
    /// Safe. The kernel goes on accepting; a connection that comes after the future is dropped joins the
    /// queue of the listener, and the next `accept` gets it.
    ///
    /// # Kernel
    /// 5.19 with one operation for many connections, 5.11 with one for each.
    ///
    /// # Errors
    /// Only if the socket itself is of no more use; `ResourceBusy` while another accept is under way.
    pub async fn accept(&self) -> io::Result<(TcpStream, SocketAddr)> {
        let _turn = self.turn.take("accept")?;
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The connections, one after the other; it never ends. See [`Self::accept`].
    pub fn incoming(&self) -> impl Stream<Item = io::Result<TcpStream>> + '_ {
        futures_util::stream::poll_fn(move |cx| {
            let turn = match self.turn.take("accept") {
                Ok(turn) => turn,
                Err(error) => return Poll::Ready(Some(Err(error))),
            };
            let accepted = self.poll_accept(cx);
            drop(turn);
            accepted.map(|accepted| Some(accepted.map(|(stream, _)| stream)))
        })
    }

    fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<io::Result<(TcpStream, SocketAddr)>> {
        let mut source = self.source.borrow_mut();
        loop {
            let accepted = match &mut *source {
                Source::Idle => {
                    *source = self.arm();
                    continue;
                }
                Source::Multishot(stream) => match ready!(stream.poll_item(cx)) {
                    Some(accepted) => accepted,
                    None => {
                        *source = Source::Idle;
                        continue;
                    }
                },
                Source::Once(accept) => {
                    let accepted = ready!(Pin::new(accept).poll(cx));
                    *source = Source::Idle;
                    accepted
                }
                Source::Pause(pause) => {
                    // Whether it ran out or was cancelled: time to look again.
                    let _ = ready!(Pin::new(pause).poll(cx));
                    *source = Source::Idle;
                    continue;
                }
            };
            match accepted {
                Ok(fd) => {
                    self.pause.set(PAUSE.0);
                    // A connection that was reset meanwhile has no peer any more: nothing to serve.
                    if let Ok(peer) = self.socket.system().peer_addr(fd.as_fd()) {
                        return Poll::Ready(Ok((TcpStream::adopt(fd), peer)));
                    }
                }
                Err(error) => match self.after(&error) {
                    After::Next => {}
                    After::Pause => *source = self.pause(),
                    After::Fail => return Poll::Ready(Err(error)),
                },
            }
        }
    }

    fn arm(&self) -> Source {
        let handle = self.socket.handle();
        let fd = self.socket.fd.clone();
        if handle.capabilities().accept_multi {
            Source::Multishot(handle.submit_multi(op::AcceptMulti::new(fd)))
        } else {
            Source::Once(handle.submit(op::Accept::new(fd)))
        }
    }

    fn pause(&self) -> Source {
        self.throttled.set(self.throttled.get() + 1);
        let pause = self.pause.get();
        self.pause.set((pause * 2).min(PAUSE.1));
        Source::Pause(self.socket.handle().submit(op::Timeout::new(pause)))
    }

    fn after(&self, error: &io::Error) -> After {
        match error.raw_os_error() {
            Some(libc::EMFILE | libc::ENFILE | libc::ENOBUFS | libc::ENOMEM) => After::Pause,
            // Paused because too many waited to be taken; they are taken now.
            Some(libc::ECANCELED) if !self.socket.handle().is_closed() => After::Next,
            // accept(2): errors of the new connection, not of the listener.
            Some(
                libc::EINTR
                | libc::EAGAIN
                | libc::ECONNABORTED
                | libc::EPROTO
                | libc::EPERM
                | libc::ENETDOWN
                | libc::ENOPROTOOPT
                | libc::EHOSTDOWN
                | libc::ENONET
                | libc::EHOSTUNREACH
                | libc::EOPNOTSUPP
                | libc::ENETUNREACH
                | libc::ETIMEDOUT,
            ) => After::Next,
            _ => After::Fail,
        }
    }

    /// How often accepting paused because descriptors or memory ran out.
    pub fn throttled(&self) -> u64 {
        self.throttled.get()
    }

    /// Stops listening, and hands back the connections that the kernel had accepted and nobody had taken,
    /// and those that wait in its backlog at this moment.
    ///
    /// The kernel goes on listening as long as a clone of the socket is open elsewhere, also in another
    /// process; who accepts there gets all connections that come from now on.
    ///
    /// # Cancellation
    /// The listener is closed all the same; connections that nobody had taken are closed with it.
    pub async fn close(self) -> Vec<TcpStream> {
        let mut left = Vec::new();
        let mut source = self.source.replace(Source::Idle);
        match &mut source {
            Source::Multishot(stream) => {
                stream.request_cancel();
                while let Some(accepted) = poll_fn(|cx| stream.poll_item(cx)).await {
                    left.extend(accepted.ok().map(TcpStream::adopt));
                }
            }
            Source::Once(accept) => {
                accept.request_cancel();
                left.extend(accept.await.ok().map(TcpStream::adopt));
            }
            Source::Idle | Source::Pause(_) => {}
        }
        self.sweep(&mut left).await;
        left
    }

    /// Takes what waits in the backlog. A connection wakes one of those who accept from a socket; if that
    /// was us, and the cancel came in between, others who share the socket do not know of it.
    async fn sweep(&self, left: &mut Vec<TcpStream>) {
        let mut in_vain = 0;
        while in_vain < SWEEPS_IN_VAIN_MAX && self.socket.system().has_waiting(self.as_fd()) {
            let accept = self.socket.handle().submit(op::Accept::new(self.socket.fd.clone()));
            // The kernel looks into the backlog before it sees the cancel. Another may have been faster: look again.
            accept.request_cancel();
            match accept.await {
                Ok(fd) => left.push(TcpStream::adopt(fd)),
                Err(error)
                    if error.raw_os_error() == Some(libc::ECANCELED) && !self.socket.handle().is_closed() =>
                {
                    in_vain += 1;
                }
                Err(error) => match self.after(&error) {
                    After::Next => {}
                    After::Pause | After::Fail => break,
                },
            }
        }
    }

    /// The address that it listens on; the port that was chosen for port 0.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.system().local_addr(self.as_fd())
    }
}

/// A kernel that sees the cancel first, again and again, must not keep a listener from closing.
const SWEEPS_IN_VAIN_MAX: u32 = 64;

enum After {
    Next,
    Pause,
    Fail,
}

impl From<std::net::TcpListener> for TcpListener {
    /// # Panics
    /// Outside of a runtime.
    fn from(listener: std::net::TcpListener) -> Self {
        let context = context::current();
        // As for streams: the ring waits, the descriptor must not. Without a ring it must not wait either, and
        // stays so for good: the mode is that of the open file, and who shares it, another core or the successor of
        // this process, would sleep in `accept` if it were changed back under its feet.
        let _ = listener.set_nonblocking(context.polls());
        let fd = SharedFd::new(OwnedFd::from(listener));
        Self {
            socket: Socket { context, fd },
            source: RefCell::new(Source::Idle),
            pause: Cell::new(PAUSE.0),
            throttled: Cell::new(0),
            turn: Turn::default(),
        }
    }
}

impl AsFd for TcpListener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }
}

impl std::fmt::Debug for TcpListener {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpListener").field("local", &self.local_addr().ok()).finish()
    }
}
