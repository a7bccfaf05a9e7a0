//! The calls that go past the ring: making sockets, naming them, their options, the clock.
//!
//! Linux has operations of the ring for few of them, and slow ones for others. So they are
//! plain calls, and this trait is the seam at which a simulated kernel takes their place. It is
//! asked for when a socket is made or ends, and for bulk that goes through a pipe, never for a
//! message: the virtual call costs nothing that could be measured beside the system call behind it.

use std::io::{self, IoSliceMut};
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{self, PollFd, PollFlags, Timespec};
use rustix::io::ReadWriteFlags;
use rustix::net::{self, AddressFamily, SocketFlags, SocketType, sockopt};
use rustix::pipe::{self, PipeFlags, SpliceFlags};

/// A kernel, as far as it is not reached by the ring.
///
/// Every descriptor is a real one, so that owning, counting and closing it mean what they
/// always mean; a simulated kernel hands out inert placeholders.
pub trait System {
    /// The monotonic clock, from an arbitrary zero.
    fn now(&self) -> Duration;

    /// A TCP socket of the family of `address`, closed on exec.
    ///
    /// # Errors
    /// Those of `socket(2)`.
    fn tcp_socket(&self, address: SocketAddr) -> io::Result<OwnedFd>;

    /// Names a socket.
    ///
    /// # Errors
    /// Those of `bind(2)`.
    fn bind(&self, socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()>;

    /// Lets a socket take connections; `backlog` of them may wait.
    ///
    /// # Errors
    /// Those of `listen(2)`.
    fn listen(&self, socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()>;

    /// The address of this side.
    ///
    /// # Errors
    /// Those of `getsockname(2)`; `InvalidInput` for an address that is no internet address.
    fn local_addr(&self, socket: BorrowedFd<'_>) -> io::Result<SocketAddr>;

    /// The address of the other side.
    ///
    /// # Errors
    /// As for [`Self::local_addr`]; `NotConnected` if there is no other side.
    fn peer_addr(&self, socket: BorrowedFd<'_>) -> io::Result<SocketAddr>;

    /// Ends one direction or both.
    ///
    /// # Errors
    /// Those of `shutdown(2)`.
    fn shutdown(&self, socket: BorrowedFd<'_>, how: Shutdown) -> io::Result<()>;

    /// Sets an option.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    fn set_option(&self, socket: BorrowedFd<'_>, option: SocketOption) -> io::Result<()>;

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    fn nodelay(&self, socket: BorrowedFd<'_>) -> io::Result<bool>;

    /// Whether a connection waits to be accepted, without waiting for one.
    fn has_waiting(&self, listener: BorrowedFd<'_>) -> bool;

    /// The addresses of `name`, a text such as `localhost:80`; `None` if the look-up blocks, and
    /// has to be done on a thread by the resolver of the system.
    fn look_up(&self, name: &str) -> Option<io::Result<Vec<SocketAddr>>>;

    /// A pipe to splice through, closed on exec, that never blocks: its reading and its writing end.
    ///
    /// It has room for `bytes` if the limits of the user allow it, else for what the system gives.
    ///
    /// # Errors
    /// Those of `pipe2(2)`; `Unsupported` where nothing can be spliced, and where a peer that is gone
    /// would end the process, because it does not ignore SIGPIPE as Rust programs do.
    fn pipe(&self, _bytes: usize) -> io::Result<(OwnedFd, OwnedFd)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Moves at most `bytes` between a socket and a pipe; how many it were.
    ///
    /// # Errors
    /// Those of `splice(2)`. A socket in blocking mode blocks if it is full, or has nothing to give.
    fn splice(&self, _from: BorrowedFd<'_>, _to: BorrowedFd<'_>, _bytes: usize) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Takes bytes out of a pipe, as many as it has and `room` takes.
    ///
    /// # Errors
    /// Those of `read(2)`; `WouldBlock` for an empty pipe.
    fn read_pipe(&self, _pipe: BorrowedFd<'_>, _room: &mut [u8]) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// Moves at most `bytes` of a file from position `at` on into a socket; how many it were, zero behind its end.
    ///
    /// # Errors
    /// Those of `sendfile(2)`. A socket in blocking mode blocks if it is full, and so does a file whose bytes
    /// are not in memory; a peer that is gone is a signal: see [`Self::pipe`].
    fn send_file(
        &self,
        _socket: BorrowedFd<'_>,
        _file: BorrowedFd<'_>,
        _at: u64,
        _bytes: usize,
    ) -> io::Result<usize> {
        Err(io::ErrorKind::Unsupported.into())
    }

    /// True if the byte of a file at `at` is in memory, or behind its end. False where nobody knows.
    fn is_cached(&self, _file: BorrowedFd<'_>, _at: u64) -> bool {
        false
    }

    /// Says whether calls on a socket fail instead of waiting.
    ///
    /// Where [`waits_nonblocking`](crate::backend::Capabilities::waits_nonblocking) is missing, the ring needs
    /// sockets that wait: whoever says otherwise takes it back before the driver turns.
    ///
    /// # Errors
    /// Those of `ioctl(2)`.
    fn set_nonblocking(&self, _socket: BorrowedFd<'_>, _nonblocking: bool) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

/// An option of a socket, with its value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SocketOption {
    /// `SO_REUSEADDR`: listen although old connections linger.
    ReuseAddress(bool),
    /// `SO_REUSEPORT`: share the port with others who say so too.
    ReusePort(bool),
    /// `TCP_NODELAY`: send small writes at once.
    NoDelay(bool),
    /// `TCP_USER_TIMEOUT`: reset the connection if the peer takes nothing for so long.
    UserTimeout(Duration),
    /// `SO_LINGER`: what a close does with bytes that are not sent yet; zero resets the connection.
    Linger(Option<Duration>),
}

/// The kernel that this program runs on.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealSystem;

impl System for RealSystem {
    fn now(&self) -> Duration {
        // Only differences count; the first look is the zero.
        static ZERO: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        ZERO.get_or_init(Instant::now).elapsed()
    }

    fn tcp_socket(&self, address: SocketAddr) -> io::Result<OwnedFd> {
        let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
        let protocol = Some(net::ipproto::TCP);
        Ok(net::socket_with(family, SocketType::STREAM, SocketFlags::CLOEXEC, protocol)?)
    }

    fn bind(&self, socket: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
        Ok(net::bind(socket, &address)?)
    }

    fn listen(&self, socket: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
        Ok(net::listen(socket, backlog)?)
    }

    fn local_addr(&self, socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        inet(net::getsockname(socket)?)
    }

    fn peer_addr(&self, socket: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        // A socket that never had a peer has none to name: the kernel says ENOTCONN then.
        net::getpeername(socket)?.map_or_else(|| Err(io::ErrorKind::NotConnected.into()), inet)
    }

    fn shutdown(&self, socket: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
        let how = match how {
            Shutdown::Read => net::Shutdown::Read,
            Shutdown::Write => net::Shutdown::Write,
            Shutdown::Both => net::Shutdown::Both,
        };
        Ok(net::shutdown(socket, how)?)
    }

    fn set_option(&self, socket: BorrowedFd<'_>, option: SocketOption) -> io::Result<()> {
        Ok(match option {
            SocketOption::ReuseAddress(on) => sockopt::set_socket_reuseaddr(socket, on),
            SocketOption::ReusePort(on) => sockopt::set_socket_reuseport(socket, on),
            SocketOption::NoDelay(on) => sockopt::set_tcp_nodelay(socket, on),
            SocketOption::UserTimeout(limit) => {
                let limit_ms = u32::try_from(limit.as_millis()).unwrap_or(u32::MAX);
                sockopt::set_tcp_user_timeout(socket, limit_ms)
            }
            SocketOption::Linger(linger) => sockopt::set_socket_linger(socket, linger),
        }?)
    }

    fn nodelay(&self, socket: BorrowedFd<'_>) -> io::Result<bool> {
        Ok(sockopt::tcp_nodelay(socket)?)
    }

    fn has_waiting(&self, listener: BorrowedFd<'_>) -> bool {
        let mut poll = [PollFd::new(&listener, PollFlags::IN)];
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        event::poll(&mut poll, Some(&now)).is_ok_and(|ready| ready > 0) && poll[0].revents() == PollFlags::IN
    }

    fn look_up(&self, _name: &str) -> Option<io::Result<Vec<SocketAddr>>> {
        None
    }

    fn pipe(&self, bytes: usize) -> io::Result<(OwnedFd, OwnedFd)> {
        // A splice to a socket has no MSG_NOSIGNAL.
        if !ignores_sigpipe() {
            return Err(io::ErrorKind::Unsupported.into());
        }
        let (read, write) = pipe::pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // Refused above the user's limit of pipe memory: then it keeps its size.
        let _ = pipe::fcntl_setpipe_size(&write, bytes);
        Ok((read, write))
    }

    fn splice(&self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, bytes: usize) -> io::Result<usize> {
        Ok(pipe::splice(from, None, to, None, bytes, SpliceFlags::NONBLOCK | SpliceFlags::MOVE)?)
    }

    fn read_pipe(&self, pipe: BorrowedFd<'_>, room: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(pipe, room)?)
    }

    fn send_file(
        &self,
        socket: BorrowedFd<'_>,
        file: BorrowedFd<'_>,
        mut at: u64,
        bytes: usize,
    ) -> io::Result<usize> {
        Ok(rustix::fs::sendfile(socket, file, Some(&mut at), bytes)?)
    }

    fn is_cached(&self, file: BorrowedFd<'_>, at: u64) -> bool {
        let mut byte = [0];
        let room = &mut [IoSliceMut::new(&mut byte)];
        rustix::io::preadv2(file, room, at, ReadWriteFlags::NOWAIT).is_ok()
    }

    fn set_nonblocking(&self, socket: BorrowedFd<'_>, nonblocking: bool) -> io::Result<()> {
        Ok(rustix::io::ioctl_fionbio(socket, nonblocking)?)
    }
}

/// Whether writing to a peer that is gone is an error and no more.
fn ignores_sigpipe() -> bool {
    /// Its place in the mask, which starts with signal 1.
    const SIGPIPE: u32 = 13 - 1;
    let Ok(status) = std::fs::read_to_string("/proc/self/status") else { return false };
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask >> SIGPIPE & 1 == 1)
}

fn inet(address: net::SocketAddrAny) -> io::Result<SocketAddr> {
    let text = "not an internet address";
    SocketAddr::try_from(address).map_err(|_| io::Error::new(io::ErrorKind::InvalidInput, text))
}
