//! Sends back what comes in, or forgets it.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsRawFd, OwnedFd};

use anyhow::Context;
use rival_options::{Mode, Ready};
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketFlags, accept_with, recv, send};

use crate::{LISTENER, Options, Trigger};

struct Connection {
    socket: OwnedFd,
    /// Received, and not taken by the last write.
    left: Vec<u8>,
    /// The peer has sent all it will send.
    ending: bool,
}

/// Whether a connection goes on.
#[derive(PartialEq, Eq)]
enum Next {
    Keep,
    Close,
}

struct Server {
    epoll: OwnedFd,
    listener: TcpListener,
    connections: Vec<Option<Connection>>,
    buffer: Vec<u8>,
    trigger: Trigger,
    /// What comes in goes back.
    echoes: bool,
}

/// Serves until the process is ended.
pub(crate) fn serve(options: &Options, listener: TcpListener, ready: Ready) -> anyhow::Result<()> {
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(&epoll, &listener, EventData::new_u64(LISTENER), EventFlags::IN)?;
    let mut server = Server {
        epoll,
        listener,
        connections: Vec::new(),
        buffer: vec![0; options.buffer()],
        trigger: options.trigger,
        echoes: options.common.mode == Mode::Echo,
    };
    ready.now()?;
    let mut events = Vec::with_capacity(1024);
    loop {
        match epoll::wait(&server.epoll, rustix::buffer::spare_capacity(&mut events), None) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error).context("wait for events"),
        }
        for Event { flags, data } in events.drain(..) {
            match data.u64() {
                LISTENER => server.accept().context("accept")?,
                number => server.serve(number, flags),
            }
        }
    }
}

impl Server {
    fn accept(&mut self) -> io::Result<()> {
        loop {
            let flags = SocketFlags::NONBLOCK | SocketFlags::CLOEXEC;
            let socket = match accept_with(&self.listener, flags) {
                Ok(socket) => socket,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::CONNABORTED | Errno::INTR) => continue,
                Err(error) => return Err(error.into()),
            };
            let number = usize::try_from(socket.as_raw_fd()).expect("descriptors are positive");
            let data = EventData::new_u64(number as u64);
            let mut flags = EventFlags::IN | EventFlags::RDHUP;
            if self.trigger == Trigger::Edge {
                // Armed once and for all: the kernel reports room only after a write that
                // found none.
                flags |= EventFlags::OUT | EventFlags::ET;
            }
            epoll::add(&self.epoll, &socket, data, flags)?;
            if self.connections.len() <= number {
                self.connections.resize_with(number + 1, || None);
            }
            self.connections[number] = Some(Connection { socket, left: Vec::new(), ending: false });
        }
    }

    #[inline]
    fn serve(&mut self, number: u64, flags: EventFlags) {
        let index = usize::try_from(number).expect("event data is a descriptor number");
        // A connection closed earlier in the same batch may still have an event.
        let Some(connection) = self.connections[index].as_mut() else { return };
        let waited = !connection.left.is_empty();
        let next = if self.echoes {
            connection.serve(flags, &mut self.buffer, self.trigger)
        } else {
            connection.drain(&mut self.buffer)
        };
        let waits = !connection.left.is_empty();
        if next == Next::Close {
            // Closing the descriptor takes it off the interest list.
            self.connections[index] = None;
        } else if self.trigger == Trigger::Level && waits != waited {
            let wanted = if waits { EventFlags::OUT } else { EventFlags::IN | EventFlags::RDHUP };
            let data = EventData::new_u64(number);
            // It fails only for a descriptor that is not registered, and this one is.
            let _ = epoll::modify(&self.epoll, &connection.socket, data, wanted);
        }
    }
}

impl Connection {
    /// Does what the event allows, with as few system calls as possible.
    #[inline]
    fn serve(&mut self, flags: EventFlags, buffer: &mut [u8], trigger: Trigger) -> Next {
        let mut unread = flags.intersects(EventFlags::IN | EventFlags::ERR | EventFlags::HUP);
        self.ending |= flags.intersects(EventFlags::RDHUP);
        if !self.left.is_empty() {
            match send(&self.socket, &self.left, SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.left.drain(..count)),
                Err(Errno::AGAIN) => {}
                Err(_) => return Next::Close,
            }
            if !self.left.is_empty() {
                return Next::Keep;
            }
            // Edges that came while nothing was read are gone: look.
            unread = true;
        }
        while unread {
            let count = match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Next::Close,
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => return Next::Keep,
                Err(_) => return Next::Close,
            };
            let sent = match send(&self.socket, &buffer[..count], SendFlags::NOSIGNAL) {
                Ok(sent) => sent,
                Err(Errno::AGAIN) => 0,
                Err(_) => return Next::Close,
            };
            if sent < count {
                self.left.extend_from_slice(&buffer[sent..count]);
                return Next::Keep;
            }
            // A short read has emptied the socket: whatever comes later is a new edge. Only
            // the end of the stream may have been reported together with the data.
            unread = trigger == Trigger::Edge && (count == buffer.len() || self.ending);
        }
        Next::Keep
    }

    /// Reads all there is and forgets it.
    fn drain(&mut self, buffer: &mut [u8]) -> Next {
        loop {
            match recv(&self.socket, &mut *buffer, RecvFlags::empty()) {
                Ok((0, _)) => return Next::Close,
                Ok(_) => {}
                Err(Errno::AGAIN) => return Next::Keep,
                Err(_) => return Next::Close,
            }
        }
    }
}
