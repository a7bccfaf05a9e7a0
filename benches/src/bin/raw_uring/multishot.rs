//! Multishot receives on buffers that the kernel picks, sent back from where they lie, or forgotten.
#![allow(unsafe_code, reason = "submits entries that name receive buffers")]

use std::collections::VecDeque;
use std::io;
use std::net::TcpListener;
use std::os::fd::AsRawFd;

use anyhow::Context;
use coronet_benches::buffers::{Buffers, GROUP, Sharing};
use coronet_benches::lane::{Lane, Outcome, Setup, Target};
use coronet_benches::process::now_ns;
use io_uring::{opcode, types};
use rival_options::{Mode, Ready};

use crate::connection::Connection;
use crate::{Options, Variant};

/// What a completion belongs to: the upper half of the user data.
const ACCEPT: u32 = 0;
const RECEIVE: u32 = 1;
const SEND: u32 = 2;
const CANCEL: u32 = 3;

struct Server<'ring> {
    lane: Lane<'ring>,
    buffers: Buffers,
    connections: Vec<Connection>,
    starved: VecDeque<u32>,
    direct: bool,
    /// What comes in goes back.
    echoes: bool,
    accepting: bool,
    /// The descriptor table is full: accept again when a connection closes.
    full: bool,
    listener: i32,
    counters: Counters,
}

#[derive(Default)]
struct Counters {
    enters: u64,
    completions: u64,
    receives: u64,
    dry: u64,
}

/// Serves until the process is ended.
pub(crate) fn serve(options: &Options, listener: &TcpListener, ready: Ready) -> anyhow::Result<()> {
    let (count, size) = options.pool();
    let sharing = match options.variant() {
        Variant::Incremental => Sharing::Incremental,
        Variant::Bundle => Sharing::Bundle,
        Variant::Multishot | Variant::Hot => Sharing::Whole,
    };
    // Leaked, like the buffers: they are used until the process ends.
    let setup = Setup { entries: options.entries, completions: 16 * 1024, taskrun_flag: false };
    let (ring, rung) = setup.build().context("set up the ring")?;
    let ring = Box::leak(Box::new(ring));
    let (lane, mut completions) = Lane::open(ring);
    let mut buffers = Buffers::new(count, size, sharing).context("map the buffers")?;
    // SAFETY: [bench-lent] `Server` is leaked below, so the buffers are never unmapped.
    unsafe { buffers.register(lane.submitter()) }
        .with_context(|| format!("register {sharing:?} buffers (needs a newer kernel?)"))?;
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let descriptors = u32::try_from(descriptors.unwrap_or(65536).min(65536)).unwrap_or(65536);
    if !options.normal_descriptors {
        lane.submitter().register_files_sparse(descriptors).context("register a file table")?;
    }
    let mut connections = Vec::new();
    connections.resize_with(descriptors as usize, Connection::default);
    let server = Box::leak(Box::new(Server {
        lane,
        buffers,
        connections,
        starved: VecDeque::new(),
        direct: !options.normal_descriptors,
        echoes: options.common.mode == Mode::Echo,
        accepting: false,
        full: false,
        listener: listener.as_raw_fd(),
        counters: Counters::default(),
    }));
    ready.now()?;
    if options.verbose {
        eprintln!("ring: {rung}, {count} buffers of {size}");
    }
    let mut report_at = now_ns();
    loop {
        if !server.accepting && !server.full {
            server.arm_accept()?;
        }
        server.lane.enter(1).context("enter the ring")?;
        completions.sync();
        server.counters.enters += 1;
        for entry in &mut completions {
            server.complete(entry.user_data(), Outcome::of(&entry)).context("submit")?;
        }
        let returned = server.buffers.publish();
        if !server.starved.is_empty() && returned > 0 {
            server.feed(returned)?;
        }
        if options.verbose && now_ns() > report_at {
            report_at = now_ns() + 1_000_000_000;
            server.counters.print_and_clear();
        }
    }
}

impl Server<'_> {
    fn target(&self, slot: u32) -> Target {
        if self.direct { Target::Direct(slot) } else { Target::Normal(slot.cast_signed()) }
    }

    #[inline]
    fn complete(&mut self, data: u64, outcome: Outcome) -> io::Result<()> {
        self.counters.completions += 1;
        let slot = data as u32;
        match (data >> 32) as u32 {
            ACCEPT => self.accepted(outcome),
            RECEIVE => self.received(slot, outcome),
            SEND => self.sent(slot, outcome),
            // A cancel that was too late, or a close that failed: nothing depends on it.
            _ => Ok(()),
        }
    }

    fn arm_accept(&mut self) -> io::Result<()> {
        let accept = opcode::AcceptMulti::new(types::Fd(self.listener))
            .allocate_file_index(self.direct)
            .build()
            .user_data(tag(ACCEPT, 0));
        self.accepting = true;
        // SAFETY: [bench-lent] a multishot accept names no memory.
        unsafe { self.lane.push(&accept) }
    }

    fn accepted(&mut self, outcome: Outcome) -> io::Result<()> {
        self.accepting = outcome.more();
        let Ok(slot) = u32::try_from(outcome.result) else {
            self.full = matches!(-outcome.result, libc::ENFILE | libc::EMFILE);
            return Ok(());
        };
        self.connections[slot as usize].reset();
        self.arm_receive(slot)
    }

    fn arm_receive(&mut self, slot: u32) -> io::Result<()> {
        let target = self.target(slot);
        let entry = if self.buffers.sharing() == Sharing::Bundle {
            opcode::RecvMultiBundle::new(target.fd(), GROUP).build()
        } else {
            opcode::RecvMulti::new(target.fd(), GROUP).build()
        };
        let entry = target.mark(entry).user_data(tag(RECEIVE, slot));
        let connection = &mut self.connections[slot as usize];
        connection.receiving = true;
        connection.starved = false;
        // SAFETY: [bench-lent] the receive names no memory; the buffers it picks outlive the ring.
        unsafe { self.lane.push(&entry) }
    }

    #[inline]
    fn received(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        connection.receiving = outcome.more();
        if outcome.result > 0 {
            self.counters.receives += 1;
            self.buffers.received(outcome, |segment| connection.push(segment));
            if connection.ending {
                // The peer is gone, the cancel is on its way.
                connection.discard(&mut self.buffers);
                return self.close_if_done(slot);
            }
            if !self.echoes {
                connection.discard(&mut self.buffers);
            }
            let (receiving, wants_send) = (connection.receiving, connection.wants_send());
            if wants_send {
                self.send(slot)?;
            }
            if receiving { Ok(()) } else { self.arm_receive(slot) }
        } else if outcome.result == -libc::ENOBUFS && !connection.ending {
            self.counters.dry += 1;
            connection.starved = true;
            self.starved.push_back(slot);
            Ok(())
        } else {
            connection.ending = true;
            if outcome.result < 0 && !connection.sending {
                connection.discard(&mut self.buffers);
            }
            self.close_if_done(slot)
        }
    }

    #[inline]
    fn send(&mut self, slot: u32) -> io::Result<()> {
        let target = self.target(slot);
        let connection = &mut self.connections[slot as usize];
        let entry = connection.send(&self.buffers, target).user_data(tag(SEND, slot));
        // SAFETY: [bench-lent] the bytes are given back to the kernel only in `sent` or after it, and the
        // list of pieces is boxed and rewritten only when no send is in flight.
        unsafe { self.lane.push(&entry) }
    }

    #[inline]
    fn sent(&mut self, slot: u32, outcome: Outcome) -> io::Result<()> {
        let connection = &mut self.connections[slot as usize];
        connection.sending = false;
        if let Ok(count @ 1..) = u32::try_from(outcome.result) {
            connection.sent(count, &mut self.buffers);
            if connection.wants_send() {
                return self.send(slot);
            }
            return if connection.ending { self.close_if_done(slot) } else { Ok(()) };
        }
        connection.discard(&mut self.buffers);
        connection.ending = true;
        if connection.receiving {
            let cancel = opcode::AsyncCancel::new(tag(RECEIVE, slot)).build();
            // SAFETY: [bench-lent] a cancel names no memory.
            return unsafe { self.lane.push(&cancel.user_data(tag(CANCEL, slot))) };
        }
        self.close_if_done(slot)
    }

    fn close_if_done(&mut self, slot: u32) -> io::Result<()> {
        let target = self.target(slot);
        let connection = &mut self.connections[slot as usize];
        if !connection.is_done() {
            return Ok(());
        }
        if connection.starved {
            self.starved.retain(|other| *other != slot);
        }
        connection.reset();
        self.full = false;
        self.lane.push_close(target)
    }

    /// Re-arms connections that found no buffer, about as many as can now be served.
    fn feed(&mut self, returned: usize) -> io::Result<()> {
        // An incremental buffer serves many small receives.
        let each = if self.buffers.sharing() == Sharing::Incremental { 64 } else { 1 };
        for _ in 0..returned * each {
            let Some(slot) = self.starved.pop_front() else { break };
            self.arm_receive(slot)?;
        }
        Ok(())
    }
}

impl Counters {
    fn print_and_clear(&mut self) {
        let Self { enters, completions, receives, dry } = *self;
        eprintln!("enters {enters} completions {completions} receives {receives} dry {dry}");
        *self = Self::default();
    }
}

/// User data: what it is, and whose.
fn tag(kind: u32, slot: u32) -> u64 {
    u64::from(kind) << 32 | u64::from(slot)
}
