//! What a proxy or a server in the open sets on a connection: how long the kernel waits for
//! a silent peer, and how the connection ends.

use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

use coronet_ring::SocketOption;
use socket2::{SockRef, TcpKeepalive};

use super::TcpStream;

impl TcpStream {
    /// How long bytes may stay unacknowledged, or a peer may take none, before the kernel ends the
    /// connection (`TCP_USER_TIMEOUT`); `None` for the kernel's own limit, some 15 minutes.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_user_timeout(&self, timeout: Option<Duration>) -> io::Result<()> {
        self.socket
            .system()
            .set_option(self.as_fd(), SocketOption::UserTimeout(timeout.unwrap_or(Duration::ZERO)))
    }

    /// The limit of [`Self::set_user_timeout`].
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn user_timeout(&self) -> io::Result<Option<Duration>> {
        SockRef::from(&self.socket.fd).tcp_user_timeout()
    }

    /// Asks a peer that was silent for `idle` whether it is there, again every `interval`
    /// (`SO_KEEPALIVE`, `TCP_KEEPIDLE`, `TCP_KEEPINTVL`). The kernel ends the connection after nine
    /// questions without an answer, or after [`Self::set_user_timeout`].
    ///
    /// # Errors
    /// Those of `setsockopt(2)`; `InvalidInput` for less than a second.
    pub fn set_keepalive(&self, idle: Duration, interval: Duration) -> io::Result<()> {
        let keepalive = TcpKeepalive::new().with_time(idle).with_interval(interval);
        SockRef::from(&self.socket.fd).set_tcp_keepalive(&keepalive)
    }

    /// What closing does with bytes that the peer has not acknowledged (`SO_LINGER`): `None`, the
    /// default, sends them in the background; zero drops them and resets the connection.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_linger(&self, linger: Option<Duration>) -> io::Result<()> {
        self.socket.system().set_option(self.as_fd(), SocketOption::Linger(linger))
    }

    /// The value of [`Self::set_linger`].
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn linger(&self) -> io::Result<Option<Duration>> {
        SockRef::from(&self.socket.fd).linger()
    }

    /// Aborts the connection at once: the peer gets a reset, not an end.
    ///
    /// What was not sent yet is dropped, also the rest of a write whose future was dropped. A plain
    /// drop after `set_linger(Some(Duration::ZERO))` would do the same, but only when the kernel is
    /// done with that write, which a peer that takes nothing can put off.
    ///
    /// # Errors
    /// Those of `connect(2)` to no address, which is how one asks for it; the connection then ends
    /// with a reset when the kernel is done with it.
    pub fn reset(self) -> io::Result<()> {
        self.set_linger(Some(Duration::ZERO))?;
        rustix::net::connect_unspec(&self.socket.fd)?;
        Ok(())
    }
}
