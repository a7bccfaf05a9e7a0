//! A poll per connection, then one-shot receives into the buffer that was used last.
//!
//! The hottest buffer is always the next one: few bytes of cache for many connections, and
//! room for a whole large message. It costs a completion more than a multishot receive.
#![allow(unsafe_code, reason = "submits entries that name receive buffers")]

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

use anyhow::Context;
use coronet_benches::lane::{Lane, Outcome, Setup, Target};
use coronet_benches::region::Region;
use io_uring::{opcode, types};
use rival_options::Ready;

use crate::Options;

/// What a completion belongs to: the upper half of the user data.
const ACCEPT: u32 = 0;
const POLL: u32 = 1;
const RECEIVE: u32 = 2;
const SEND: u32 = 3;
const CANCEL: u32 = 4;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    /// Waits for its poll.
    #[default]
    Idle,
    /// In the list of those that wait for a buffer.
    Ready,
    /// A receive or a send is with the kernel.
    Busy,
    /// Waits for its poll to end, then it is closed.
    Ending,
}

#[derive(Default)]
struct Connection {
    phase: Phase,
    polling: bool,
    /// There may be more to read than the last receive took.
    more: bool,
    /// The peer has sent all it will send; some of it may still have to be read, and its end.
    ending: bool,
    buffer: usize,
    sent: usize,
    len: usize,
}

struct Server<'ring> {
    lane: Lane<'ring>,
    data: Region,
    size: usize,
    free: Vec<usize>,
    ready: VecDeque<u32>,
    connections: Vec<Connection>,
    accepting: bool,
    listener: i32,
}

/// Serves until the process is ended.
pub(crate) fn serve(options: &Options, listener: &TcpListener, ready: Ready) -> anyhow::Result<()> {
    let (count, size) = options.pool();
    let setup = Setup { entries: options.entries, completions: 16 * 1024, taskrun_flag: false };
    let (ring, _) = setup.build().context("set up the ring")?;
    // Leaked, like the buffers: they are used until the process ends.
    let ring = Box::leak(Box::new(ring));
    let (lane, mut completions) = Lane::open(ring);
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = u32::try_from(descriptors.unwrap_or(65536).min(65536)).unwrap_or(65536);
    lane.submitter().register_files_sparse(descriptors).context("register a file table")?;
    let mut connections = Vec::new();
    connections.resize_with(descriptors as usize, Connection::default);
    let data = Region::new(count * size).context("map the buffers")?;
    let server = Box::leak(Box::new(Server {
        lane,
        data,
        size,
        free: (0..count).rev().collect(),
        ready: VecDeque::new(),
        connections,
        accepting: false,
        listener: listener.as_raw_fd(),
    }));
    ready.now()?;
    loop {
        if !server.accepting {
            server.arm_accept()?;
        }
        server.lane.enter(1).context("enter the ring")?;
        completions.sync();
        for entry in &mut completions {
            server.complete(entry.user_data(), Outcome::of(&entry)).context("submit")?;
        }
        while let (Some(_), Some(buffer)) = (server.ready.front(), server.free.last().copied()) {
            server.free.pop();
            let slot = server.ready.pop_front().expect("the loop has seen it");
            server.receive(slot, buffer)?;
        }
    }
}

impl Server<'_> {
    fn complete(&mut self, data: u64, outcome: Outcome) -> io::Result<()> {
        let slot = data as u32;
        match (data >> 32) as u32 {
            ACCEPT => {
                self.accepting = outcome.more();
                let Ok(slot) = u32::try_from(outcome.result) else { return Ok(()) };
                self.connections[slot as usize] = Connection::default();
                self.arm_poll(slot)
            }
            POLL => self.polled(slot, outcome),
            RECEIVE => self.received(slot, outcome),
            SEND => self.sent(slot, outcome),
            _ => Ok(()),
        }
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(types::Fd(self.listener)).allocate_file_index(true).build();
        self.accepting = true;
        // SAFETY: [bench-lent] a multishot accept names no memory.
        unsafe { self.lane.push(&accept.user_data(tag(ACCEPT, 0))) }
    }

    fn arm_poll(&mut self, slot: u32) -> io::Result<()> {
        let events = u32::from((libc::POLLIN | libc::POLLRDHUP).cast_unsigned());
        let poll = opcode::PollAdd::new(types::Fixed(slot), events).multi(true).build();
        self.connections[slot as usize].polling = true;
        // SAFETY: [bench-lent] a poll names no memory.
        unsafe { self.lane.push(&poll.user_data(tag(POLL, slot))) }
    }

    fn polled(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        connection.polling = outcome.more();
        connection.more = true;
        connection.ending |= outcome.result > 0 && outcome.result & i32::from(libc::POLLRDHUP) != 0;
        match connection.phase {
            Phase::Idle => self.make_ready(slot),
            Phase::Ready | Phase::Busy => {}
            Phase::Ending => return self.close_if_done(slot),
        }
        if outcome.more() { Ok(()) } else { self.arm_poll(slot) }
    }

    fn make_ready(&mut self, slot: u32) {
        self.connections[slot as usize].phase = Phase::Ready;
        self.ready.push_back(slot);
    }

    fn receive(&mut self, slot: u32, buffer: usize) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Busy;
        connection.more = false;
        connection.buffer = buffer;
        let address = self.data.at(buffer * self.size);
        let len = u32::try_from(self.size).expect("buffers are small");
        let receive = opcode::Recv::new(types::Fixed(slot), address, len).flags(libc::MSG_DONTWAIT).build();
        // SAFETY: [bench-lent] the buffer was free, is no longer in the list, and is never unmapped.
        unsafe { self.lane.push(&receive.user_data(tag(RECEIVE, slot))) }
    }

    fn received(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let size = self.size;
        let connection = &mut self.connections[slot as usize];
        match outcome.bytes() {
            Ok(count @ 1..) => {
                // A receive that fills the buffer may have left something behind.
                connection.more |= count == size;
                connection.sent = 0;
                connection.len = count;
                self.send(slot)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                self.free.push(connection.buffer);
                self.rest(slot);
                Ok(())
            }
            Ok(0) | Err(_) => self.end(slot),
        }
    }

    fn send(&mut self, slot: u32) -> io::Result<()> {
        let connection = &self.connections[slot as usize];
        let address = self.data.at(connection.buffer * self.size + connection.sent);
        let len = u32::try_from(connection.len - connection.sent).expect("buffers are small");
        let send = opcode::Send::new(types::Fixed(slot), address, len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: [bench-lent] the buffer returns to the list only when nothing of it is in flight.
        unsafe { self.lane.push(&send.user_data(tag(SEND, slot))) }
    }

    fn sent(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        let Ok(count @ 1..) = outcome.bytes() else { return self.end(slot) };
        connection.sent += count;
        if connection.sent < connection.len {
            return self.send(slot);
        }
        self.free.push(connection.buffer);
        self.rest(slot);
        Ok(())
    }

    /// One exchange is over: goes on if there is more, else waits for the poll.
    fn rest(&mut self, slot: u32) {
        let connection = &mut self.connections[slot as usize];
        connection.phase = Phase::Idle;
        if connection.more || connection.ending {
            self.make_ready(slot);
        }
    }

    fn end(&mut self, slot: u32) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        self.free.push(connection.buffer);
        connection.phase = Phase::Ending;
        if connection.polling {
            // Not a poll removal: that one gives up on a poll that fires at this moment.
            let cancel = opcode::AsyncCancel::new(tag(POLL, slot)).build();
            // SAFETY: [bench-lent] a cancel names no memory.
            return unsafe { self.lane.push(&cancel.user_data(tag(CANCEL, slot))) };
        }
        self.close_if_done(slot)
    }

    fn close_if_done(&mut self, slot: u32) -> io::Result<()> {
        if self.connections[slot as usize].polling {
            return Ok(());
        }
        self.lane.push_close(Target::Direct(slot))
    }
}

/// User data: what it is, and whose.
fn tag(kind: u32, slot: u32) -> u64 {
    u64::from(kind) << 32 | u64::from(slot)
}
