//! Connects each connection with another one: multishot receives, and sends from where the bytes lie.
//!
//! All directions share the buffers. One that cannot send holds what it has received; it is made to stop at
//! its share, or the opposite direction would find no buffer and nothing would ever move again. With more
//! streams under way than buffers that can still happen: give it more by `--buffers`.
//! Descriptors are those of the process, since the ring would leave a `shutdown` to a worker thread.
#![allow(unsafe_code, reason = "submits entries that name receive buffers and an address")]

use std::collections::VecDeque;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd};

use anyhow::Context;
use coronet_benches::buffers::{Buffers, GROUP, Sharing};
use coronet_benches::lane::{Lane, Outcome, Setup, Target};
use io_uring::{opcode, types};
use rival_options::Ready;
use rustix::net::{Shutdown, shutdown};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::Options;
use crate::connection::Connection;

/// What a completion belongs to: the upper half of the user data.
const ACCEPT: u32 = 0;
const CONNECT: u32 = 1;
const RECEIVE: u32 = 2;
const SEND: u32 = 3;
const CANCEL: u32 = 4;

/// One end of a pair, in the place of its descriptor number.
#[derive(Default)]
struct End {
    /// What it receives, and what is queued to go out on it.
    connection: Connection,
    /// The other end: what is received here goes out there.
    partner: u32,
    /// A connect is with the kernel.
    connecting: bool,
    /// The receive is being cancelled, since too much is queued at the partner.
    stopping: bool,
    /// The end of the partner's stream was passed on, or the pair has failed.
    closed: bool,
    /// It belongs to a pair that is not closed yet.
    alive: bool,
}

struct Server<'ring> {
    lane: Lane<'ring>,
    buffers: Buffers,
    count: usize,
    ends: Vec<End>,
    pairs: usize,
    starved: VecDeque<u32>,
    to: SockAddr,
    accepting: bool,
    listener: i32,
}

/// Serves until the process is ended.
pub(crate) fn serve(
    options: &Options,
    to: SocketAddr,
    listener: &TcpListener,
    ready: Ready,
) -> anyhow::Result<()> {
    let (count, size) = options.pool();
    let setup = Setup { entries: options.entries, completions: 16 * 1024, taskrun_flag: false };
    let (ring, _) = setup.build().context("set up the ring")?;
    // Leaked, like the buffers: they are used until the process ends.
    let (lane, mut completions) = Lane::open(Box::leak(Box::new(ring)));
    let mut buffers = Buffers::new(count, size, Sharing::Whole).context("map the buffers")?;
    // SAFETY: [bench-lent] `Server` is leaked below, so the buffers are never unmapped.
    unsafe { buffers.register(lane.submitter()) }.context("register the buffers (needs a newer kernel?)")?;
    let server = Box::leak(Box::new(Server {
        lane,
        buffers,
        count: count.next_power_of_two(),
        ends: Vec::new(),
        pairs: 0,
        starved: VecDeque::new(),
        to: to.into(),
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
        let returned = server.buffers.publish();
        for _ in 0..returned {
            let Some(slot) = server.starved.pop_front() else { break };
            server.ends[slot as usize].connection.starved = false;
            server.resume(slot)?;
        }
    }
}

impl Server<'_> {
    #[inline]
    fn complete(&mut self, data: u64, outcome: Outcome) -> io::Result<()> {
        let slot = data as u32;
        match (data >> 32) as u32 {
            ACCEPT => self.accepted(outcome),
            CONNECT => self.connected(slot, outcome),
            RECEIVE => self.received(slot, outcome),
            SEND => self.sent(slot, outcome),
            // A cancel that was too late, or a close that failed: nothing depends on it.
            _ => Ok(()),
        }
    }

    fn end(&mut self, slot: u32) -> &mut End {
        &mut self.ends[slot as usize]
    }

    /// Pieces that one direction may hold: all of them together get by with the buffers there are.
    fn share(&self) -> usize {
        (self.count / (2 * self.pairs.max(1))).max(1)
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(types::Fd(self.listener)).build().user_data(tag(ACCEPT, 0));
        self.accepting = true;
        // SAFETY: [bench-lent] a multishot accept names no memory.
        unsafe { self.lane.push(&accept) }
    }

    fn accepted(&mut self, outcome: Outcome) -> io::Result<()> {
        self.accepting = outcome.more();
        let Ok(near) = u32::try_from(outcome.result) else { return Ok(()) };
        let Ok(far) = self.socket() else {
            // No descriptor left: the client sees its connection end.
            return self.lane.push_close(Target::Normal(near.cast_signed()));
        };
        self.pairs += 1;
        let last = near.max(far) as usize;
        if self.ends.len() <= last {
            self.ends.resize_with(last + 1, End::default);
        }
        for (slot, partner) in [(near, far), (far, near)] {
            let end = self.end(slot);
            end.connection.reset();
            end.partner = partner;
            end.connecting = slot == far;
            end.stopping = false;
            end.closed = false;
            end.alive = true;
        }
        let fd = types::Fd(far.cast_signed());
        let connect = opcode::Connect::new(fd, self.to.as_ptr().cast(), self.to.len()).build();
        // SAFETY: [bench-lent] the address belongs to the server, which is never freed.
        unsafe { self.lane.push(&connect.user_data(tag(CONNECT, far))) }?;
        self.arm_receive(near)
    }

    fn socket(&self) -> io::Result<u32> {
        let socket = Socket::new(Domain::from(i32::from(self.to.family())), Type::STREAM, None)?;
        socket.set_tcp_nodelay(true)?;
        Ok(socket.into_raw_fd().cast_unsigned())
    }

    fn connected(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let end = self.end(slot);
        end.connecting = false;
        if outcome.result < 0 {
            return self.fail(slot);
        }
        if end.closed {
            return self.close_if_done(slot);
        }
        self.arm_receive(slot)?;
        self.send_or_close(slot)
    }

    fn arm_receive(&mut self, slot: u32) -> io::Result<()> {
        let fd = types::Fd(slot.cast_signed());
        let entry = opcode::RecvMulti::new(fd, GROUP).build();
        self.end(slot).connection.receiving = true;
        // SAFETY: [bench-lent] the receive names no memory; the buffers it picks outlive the ring.
        unsafe { self.lane.push(&entry.user_data(tag(RECEIVE, slot))) }
    }

    #[inline]
    fn received(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let end = &mut self.ends[slot as usize];
        let partner = end.partner;
        end.connection.receiving = outcome.more();
        if !outcome.more() {
            end.stopping = false;
        }
        let ending = end.connection.ending;
        match outcome.bytes() {
            Ok(count) if count > 0 => {
                let other = &mut self.ends[partner as usize];
                self.buffers.received(outcome, |segment| other.connection.push(segment));
                if other.closed {
                    // The pair has failed; what comes late goes nowhere.
                    if !other.connection.sending {
                        other.connection.discard(&mut self.buffers);
                    }
                    return self.close_if_done(slot);
                }
                self.send_or_close(partner)?;
                if outcome.more() { self.stop_at_share(slot) } else { self.resume(slot) }
            }
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) && !ending => {
                self.end(slot).connection.starved = true;
                self.starved.push_back(slot);
                Ok(())
            }
            Err(error) if error.raw_os_error() == Some(libc::ECANCELED) && !ending => self.resume(slot),
            Ok(_) => {
                self.end(slot).connection.ending = true;
                self.send_or_close(partner)
            }
            Err(_) => self.fail(slot),
        }
    }

    /// Stops receiving if too much is queued at the partner.
    #[inline]
    fn stop_at_share(&mut self, slot: u32) -> io::Result<()> {
        let partner = self.ends[slot as usize].partner;
        let full = self.ends[partner as usize].connection.queued() > self.share();
        let end = self.end(slot);
        if !full || end.stopping {
            return Ok(());
        }
        end.stopping = true;
        let cancel = opcode::AsyncCancel::new(tag(RECEIVE, slot)).build();
        // SAFETY: [bench-lent] a cancel names no memory.
        unsafe { self.lane.push(&cancel.user_data(tag(CANCEL, slot))) }
    }

    /// Receives again, unless there is a reason not to.
    #[inline]
    fn resume(&mut self, slot: u32) -> io::Result<()> {
        let end = &self.ends[slot as usize];
        let queued = self.ends[end.partner as usize].connection.queued();
        let connection = &end.connection;
        let may = end.alive
            && !connection.receiving
            && !connection.ending
            && !connection.starved
            && !end.connecting;
        if may && queued <= self.share() / 2 {
            return self.arm_receive(slot);
        }
        Ok(())
    }

    /// Sends what is queued; when nothing is left and nothing will come, passes the end on.
    #[inline]
    fn send_or_close(&mut self, slot: u32) -> io::Result<()> {
        let partner_ends = self.ends[self.ends[slot as usize].partner as usize].connection.ending;
        let end = &mut self.ends[slot as usize];
        if end.connecting || end.connection.sending || end.closed {
            return self.close_if_done(slot);
        }
        if end.connection.wants_send() {
            let target = Target::Normal(slot.cast_signed());
            let entry = end.connection.send(&self.buffers, target).user_data(tag(SEND, slot));
            // SAFETY: [bench-lent] the bytes are given back to the kernel only in `sent` or after it, and the
            // list of pieces is boxed and rewritten only when no send is in flight.
            return unsafe { self.lane.push(&entry) };
        }
        if partner_ends {
            end.closed = true;
            shut(slot, Shutdown::Write);
            return self.close_if_done(slot);
        }
        Ok(())
    }

    #[inline]
    fn sent(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let end = &mut self.ends[slot as usize];
        let partner = end.partner;
        end.connection.sending = false;
        let count = u32::try_from(outcome.result).unwrap_or(0);
        if count == 0 || end.closed {
            return self.fail(slot);
        }
        end.connection.sent(count, &mut self.buffers);
        self.send_or_close(slot)?;
        self.resume(partner)
    }

    /// Something is wrong with one end: both are shut, so that all that is with the kernel comes back.
    fn fail(&mut self, slot: u32) -> io::Result<()> {
        let partner = self.ends[slot as usize].partner;
        for slot in [slot, partner] {
            shut(slot, Shutdown::Both);
            let end = &mut self.ends[slot as usize];
            end.closed = true;
            end.connection.ending = true;
            if !end.connection.sending {
                end.connection.discard(&mut self.buffers);
            }
        }
        self.close_if_done(slot)
    }

    /// Closes both ends when nothing is with the kernel and nothing is left to do.
    fn close_if_done(&mut self, slot: u32) -> io::Result<()> {
        let pair = [slot, self.ends[slot as usize].partner];
        let done = |slot: &u32| {
            let end = &self.ends[*slot as usize];
            end.connection.is_done() && end.closed && !end.connecting
        };
        if !pair.iter().all(done) {
            return Ok(());
        }
        self.pairs -= 1;
        for slot in pair {
            if self.end(slot).connection.starved {
                self.starved.retain(|other| *other != slot);
            }
            self.end(slot).connection.reset();
            self.end(slot).alive = false;
            self.lane.push_close(Target::Normal(slot.cast_signed()))?;
        }
        Ok(())
    }
}

fn shut(slot: u32, how: Shutdown) {
    // SAFETY: [bench-lent] the descriptor is closed in `close_if_done` only, after which its number is used
    // no more until an accept or a new socket has it again.
    let fd = unsafe { BorrowedFd::borrow_raw(slot.cast_signed()) };
    // It fails only for a peer that is gone.
    let _ = shutdown(fd, how);
}

/// User data: what it is, and whose.
fn tag(kind: u32, slot: u32) -> u64 {
    u64::from(kind) << 32 | u64::from(slot)
}
