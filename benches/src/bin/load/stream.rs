//! Streams without an end: one way to a server that only receives, or both ways at once through an echo.
//!
//! Sent by `sendfile` from memory that holds the pattern, so that sending copies nothing and costs less than
//! the server's receiving. At the end the generator sends no more and waits for the server to close: a server
//! that leaves bytes unread resets the connection instead, so an orderly end shows that all arrived. What comes
//! back is compared byte by byte with what was sent, to the last one.

use std::fs::File;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::os::fd::OwnedFd;

use anyhow::{Context, ensure};
use coronet_benches::pattern::{Pattern, Place};
use coronet_benches::process::now_ns;
use coronet_benches::report::Report;
use rustix::event::Timespec;
use rustix::event::epoll::{self, CreateFlags, Event, EventData, EventFlags};
use rustix::fs::{MemfdFlags, memfd_create, sendfile};
use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};

use crate::fault::Fault;
use crate::meter::Meter;
use crate::{Mode, Options, Wait, echo};

/// Bytes of the receive buffer: what a fast connection has to offer at once.
const BUFFER: usize = 256 << 10;
/// Chunks that one connection sends before the next one has its turn.
const TURN: usize = 4;
/// How long a server may take, after the last byte, until it closes.
const END_MAX_NS: u64 = 10_000_000_000;

struct Connection {
    stream: TcpStream,
    to_send: Place,
    to_receive: Place,
    sent: u64,
    received: u64,
    /// There may be room to send: the kernel has not said otherwise.
    has_room: bool,
    ended: bool,
}

struct Generator<'run> {
    options: &'run Options,
    epoll: OwnedFd,
    /// The pattern, long enough for a chunk from anywhere.
    file: File,
    pattern: Pattern,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    meter: Meter<'run>,
    events: Vec<Event>,
    now: u64,
}

/// Connects, runs, reports.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let pattern = Pattern::new(options.size());
    let mut file = File::from(memfd_create(c"pattern", MemfdFlags::CLOEXEC).context("map a file")?);
    file.write_all(pattern.table())?;
    ensure!(options.size() <= 16 << 20, "a chunk of a stream has at most 16 MiB");
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    let mut connections = Vec::new();
    for (index, stream) in echo::connect(options)?.into_iter().enumerate() {
        stream.set_nonblocking(true)?;
        let flags = EventFlags::IN | EventFlags::OUT | EventFlags::RDHUP | EventFlags::ET;
        epoll::add(&epoll, &stream, EventData::new_u64(index as u64), flags)?;
        let place = Place::start(index);
        connections.push(Connection {
            stream,
            to_send: place,
            to_receive: place,
            sent: 0,
            received: 0,
            has_room: true,
            ended: false,
        });
    }
    let mut generator = Generator {
        options,
        epoll,
        file,
        pattern,
        connections,
        buffer: vec![0; BUFFER],
        meter: Meter::start(options),
        events: Vec::with_capacity(1024),
        now: now_ns(),
    };
    generator.drive()?;
    // The figures are of the time that was asked for; the end is waited for behind it.
    let report = generator.meter.report()?;
    generator.finish()?;
    Ok(report)
}

impl Generator<'_> {
    fn drive(&mut self) -> anyhow::Result<()> {
        while self.meter.goes_on(self.now)? {
            let mut worked = self.receive()?;
            for index in 0..self.connections.len() {
                worked |= self.send(index)?;
            }
            self.now = now_ns();
            if worked {
                self.meter.busy(self.now);
            } else {
                self.meter.idle();
            }
        }
        Ok(())
    }

    /// Sends a few chunks on a connection that has room; whether anything went out.
    fn send(&mut self, index: usize) -> anyhow::Result<bool> {
        let connection = &mut self.connections[index];
        let size = self.options.size();
        let mut worked = false;
        for _ in 0..TURN {
            if !connection.has_room {
                break;
            }
            let mut offset = connection.to_send.offset();
            match sendfile(&connection.stream, &self.file, Some(&mut offset), size) {
                Ok(count) => {
                    connection.to_send.advance(count);
                    connection.sent += count as u64;
                    worked = true;
                    if self.options.mode == Mode::Stream {
                        self.meter.stream(count);
                    }
                }
                Err(Errno::AGAIN) => connection.has_room = false,
                Err(error) => {
                    let error = std::io::Error::from(error);
                    return Err(error).context(format!("send on connection {index}"));
                }
            }
        }
        Ok(worked)
    }

    /// Takes what the kernel has to say, and what has come back; whether there was anything.
    fn receive(&mut self) -> anyhow::Result<bool> {
        let blocked = self.connections.iter().all(|connection| !connection.has_room || connection.ended);
        let wait = match self.options.wait {
            // Wakes up now and then to look at the clock.
            Wait::Sleep if blocked => Timespec { tv_sec: 0, tv_nsec: 10_000_000 },
            Wait::Sleep | Wait::Spin => Timespec { tv_sec: 0, tv_nsec: 0 },
        };
        self.events.clear();
        match epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut self.events), Some(&wait)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(std::io::Error::from(error)).context("wait for events"),
        }
        for at in 0..self.events.len() {
            let Event { flags, data } = self.events[at];
            let index = usize::try_from(data.u64())?;
            self.connections[index].has_room |= flags.intersects(EventFlags::OUT);
            let unread = EventFlags::IN | EventFlags::RDHUP | EventFlags::HUP | EventFlags::ERR;
            if flags.intersects(unread) {
                self.drain(index)?;
            }
        }
        Ok(!self.events.is_empty())
    }

    /// Reads all that has come back and compares it.
    fn drain(&mut self, index: usize) -> anyhow::Result<()> {
        let connection = &mut self.connections[index];
        while !connection.ended {
            let count = match recv(&connection.stream, &mut self.buffer[..], RecvFlags::empty()) {
                Ok((0, _)) => {
                    connection.ended = true;
                    break;
                }
                Ok((count, _)) => count,
                Err(Errno::AGAIN) => break,
                Err(error) => {
                    let error = std::io::Error::from(error);
                    return Err(error).context(format!("receive on connection {index}"));
                }
            };
            let right = self.pattern.matches(connection.to_receive, &self.buffer[..count]);
            connection.to_receive.advance(count);
            connection.received += count as u64;
            if !right || connection.received > connection.sent {
                let text =
                    format!("payload mismatch on connection {index}: {count} bytes are not what was sent");
                return Err(Fault::payload(text).into());
            }
            if self.options.mode == Mode::StreamEcho {
                self.meter.stream(count);
            }
        }
        Ok(())
    }

    /// Sends no more and waits for the server's end of every connection.
    fn finish(&mut self) -> anyhow::Result<()> {
        for (index, connection) in self.connections.iter().enumerate() {
            if connection.ended {
                let text = format!("the server closed connection {index} while it was sent to");
                return Err(Fault::closed(text).into());
            }
            connection.stream.shutdown(Shutdown::Write).context("end a stream")?;
        }
        let give_up_at = now_ns() + END_MAX_NS;
        while self.connections.iter().any(|connection| !connection.ended) {
            if now_ns() > give_up_at {
                return Err(Fault::silent("the server does not close at the end of a stream").into());
            }
            self.receive()?;
        }
        for (index, connection) in self.connections.iter().enumerate() {
            let expected = match self.options.mode {
                Mode::StreamEcho => connection.sent,
                _ => 0,
            };
            if connection.received != expected {
                let text = format!(
                    "connection {index} got {} bytes back instead of {expected}",
                    connection.received
                );
                return Err(Fault::payload(text).into());
            }
        }
        Ok(())
    }
}
