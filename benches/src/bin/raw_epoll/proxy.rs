//! Connects each connection with another one and moves bytes both ways: through the shared buffer, or
//! with `--splice` through a pipe for each direction, so that the bytes never enter this process.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;

use anyhow::Context;
use rival_options::Ready;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{
    RecvFlags, SendFlags, Shutdown, SocketFlags, SocketType, accept_with, connect, recv, send, shutdown,
    socket_with, sockopt,
};
use rustix::pipe::{PipeFlags, SpliceFlags, fcntl_setpipe_size, pipe_with, splice};

use crate::{LISTENER, Options};

/// Bytes that one splice moves at most, and that a pipe holds.
const PIPE: usize = 256 << 10;

/// Two connections: the accepted one, and the one that was made for it.
struct Pair {
    ends: [OwnedFd; 2],
    /// From the first end to the second, and back.
    ways: [Way; 2],
}

/// One direction.
#[derive(Default)]
struct Way {
    /// Received, and not yet sent.
    left: Vec<u8>,
    /// Where the bytes wait if they are spliced.
    pipe: Option<Pipe>,
    /// The peer has sent all it will send; some of it may still have to be read.
    ending: bool,
    /// All there is was received.
    ended: bool,
    /// The end was passed on.
    closed: bool,
}

struct Pipe {
    read: OwnedFd,
    write: OwnedFd,
    filled: usize,
}

struct Server<'run> {
    epoll: OwnedFd,
    listener: &'run TcpListener,
    to: SocketAddr,
    splices: bool,
    pairs: Vec<Option<Pair>>,
    free: Vec<usize>,
    buffer: Vec<u8>,
}

/// Serves until the process is ended.
pub(crate) fn serve(
    options: &Options,
    to: SocketAddr,
    listener: &TcpListener,
    ready: Ready,
) -> anyhow::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Server {
        epoll,
        listener,
        to,
        splices: options.splice,
        pairs: Vec::new(),
        free: Vec::new(),
        buffer: vec![0; options.buffer()],
    };
    ready.now()?;
    let mut events = Vec::with_capacity(1024);
    let mut closed = Vec::new();
    loop {
        match epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for events"),
        }
        for Event { flags, data } in events.drain(..) {
            match data.u64() {
                LISTENER => server.accept().context("accept")?,
                number => {
                    let index = usize::try_from(number / 2)?;
                    if !server.serve(index, usize::from(number % 2 == 1), flags) {
                        // An event of this batch may still name the pair: its place is free only behind it.
                        server.pairs[index] = None;
                        closed.push(index);
                    }
                }
            }
        }
        server.free.append(&mut closed);
    }
}

impl Server<'_> {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            match accept_with(self.listener, flags) {
                // A connection that cannot be passed on ends at once.
                Ok(near) => drop(self.pair(near)),
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    fn pair(&mut self, near: OwnedFd) -> rustix::io::Result<()> {
        let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
        let far = socket_with(
            if self.to.is_ipv6() {
                rustix::net::AddressFamily::INET6
            } else {
                rustix::net::AddressFamily::INET
            },
            SocketType::STREAM,
            flags,
            None,
        )?;
        sockopt::set_tcp_nodelay(&far, true)?;
        match connect(&far, &self.to) {
            Ok(()) | Err(Errno::INPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let way = || Ok(Way { pipe: self.splices.then(Pipe::new).transpose()?, ..Way::default() });
        let pair = Pair { ends: [near, far], ways: [way()?, way()?] };
        let index = self.free.pop().unwrap_or_else(|| {
            self.pairs.push(None);
            self.pairs.len() - 1
        });
        // Armed once and for all: the kernel reports room only after a write that found none.
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        for (side, end) in (0..).zip(&pair.ends) {
            epoll::add(&self.epoll, end, EventData::new_u64(index as u64 * 2 + side), flags)?;
        }
        self.pairs[index] = Some(pair);
        Ok(())
    }

    /// Does what the event of one end allows; false if the pair has ended.
    #[inline]
    fn serve(&mut self, index: usize, side: usize, flags: EventFlags) -> bool {
        let Some(pair) = &mut self.pairs[index] else { return true };
        let [near, far] = &pair.ends;
        let [there, back] = &mut pair.ways;
        let ways = if side == 0 {
            [(there, near, far), (back, far, near)]
        } else {
            [(back, far, near), (there, near, far)]
        };
        let [(outward, from, to), (inward, from_other, to_own)] = ways;
        outward.ending |= flags.intersects(EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR);
        let fine = (!flags
            .intersects(EventFlags::IN | EventFlags::RDHUP | EventFlags::ERR | EventFlags::HUP)
            || outward.pump(from, to, &mut self.buffer).is_ok())
            && (!inward.is_waiting() || inward.pump(from_other, to_own, &mut self.buffer).is_ok());
        fine && !pair.ways.iter().all(|way| way.closed)
    }
}

impl Way {
    /// Whether something waits for room.
    fn is_waiting(&self) -> bool {
        !self.left.is_empty() || self.pipe.as_ref().is_some_and(|pipe| pipe.filled > 0)
    }

    /// Moves bytes until one of the two ends has no more.
    #[inline]
    fn pump(&mut self, from: &OwnedFd, to: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<()> {
        let moved = match &mut self.pipe {
            Some(pipe) => pipe.pump(from, to, &mut self.ended),
            None => self.copy(from, to, buffer),
        };
        match moved {
            Ok(()) | Err(Errno::AGAIN | Errno::NOTCONN) => {}
            Err(error) => return Err(error),
        }
        if self.ended && !self.closed && !self.is_waiting() {
            self.closed = true;
            // It fails only for a peer that is gone.
            let _ = shutdown(to, Shutdown::Write);
        }
        Ok(())
    }

    /// Through the buffer; what is not taken stays in `left`.
    #[inline]
    fn copy(&mut self, from: &OwnedFd, to: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<()> {
        if !self.left.is_empty() {
            let count = send(to, &self.left, SendFlags::NOSIGNAL)?;
            self.left.drain(..count);
            if !self.left.is_empty() {
                return Ok(());
            }
        }
        while !self.ended {
            let (count, _) = recv(from, &mut *buffer, RecvFlags::empty())?;
            if count == 0 {
                self.ended = true;
                break;
            }
            let sent = match send(to, &buffer[..count], SendFlags::NOSIGNAL) {
                Ok(sent) => sent,
                // Full, or not connected yet: its room will be an event.
                Err(Errno::AGAIN | Errno::NOTCONN) => 0,
                Err(error) => return Err(error),
            };
            if sent < count {
                self.left.extend_from_slice(&buffer[sent..count]);
                break;
            }
            // A short read has emptied the socket: whatever comes later is a new edge. Only the end of the
            // stream may have been reported together with the data.
            if count < buffer.len() && !self.ending {
                break;
            }
        }
        Ok(())
    }
}

impl Pipe {
    fn new() -> rustix::io::Result<Self> {
        let (read, write) = pipe_with(PipeFlags::NONBLOCK | PipeFlags::CLOEXEC)?;
        // The limit of pipe memory may be reached: then it stays at 64 KiB.
        let _ = fcntl_setpipe_size(&write, PIPE);
        Ok(Self { read, write, filled: 0 })
    }

    /// Through the pipe; what is not taken stays there.
    #[inline]
    fn pump(&mut self, from: &OwnedFd, to: &OwnedFd, ended: &mut bool) -> rustix::io::Result<()> {
        let flags = SpliceFlags::NONBLOCK | SpliceFlags::MOVE;
        loop {
            while self.filled > 0 {
                self.filled -= splice(&self.read, None, to, None, self.filled, flags)?;
            }
            if *ended {
                return Ok(());
            }
            match splice(from, None, &self.write, None, PIPE, flags)? {
                0 => *ended = true,
                count => self.filled = count,
            }
        }
    }
}
