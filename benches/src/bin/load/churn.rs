//! Connect, exchange one message, close, again and again.
//!
//! Connections are closed with a reset, so that no port waits for the end of an old one.
#![allow(unsafe_code, reason = "submits entries that name buffers and addresses")]

use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use coronet_benches::lane::{Lane, Outcome, Setup};
use coronet_benches::pattern::{Pattern, Place};
use coronet_benches::process::now_ns;
use coronet_benches::report::Report;
use io_uring::{CompletionQueue, opcode, types};
use socket2::{Domain, SockAddr, Socket, Type};

use crate::fault::Fault;
use crate::meter::Meter;
use crate::{Options, Wait};

/// What a completion belongs to: the upper half of the user data.
const CONNECT: u32 = 0;
const SEND: u32 = 1;
const RECEIVE: u32 = 2;

struct Worker {
    socket: Socket,
    place: Place,
    started_at: u64,
    buffer: Vec<u8>,
    received: usize,
}

struct Generator<'run> {
    options: &'run Options,
    lane: Lane<'run>,
    address: SockAddr,
    pattern: Pattern,
    workers: Vec<Worker>,
    meter: Meter<'run>,
    now: u64,
}

/// Runs and reports.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    let setup = Setup { entries: 1024, completions: 16 * 1024, taskrun_flag: true };
    let (ring, rung) = setup.build().context("set up the ring")?;
    ensure!(
        rung.starts_with("defer") || options.wait == Wait::Sleep,
        "spinning needs kernel 6.1; use --wait sleep"
    );
    // Leaked, like the generator: the kernel may use both until the process ends.
    let (lane, mut completions) = Lane::open(Box::leak(Box::new(ring)));
    let workers = (0..options.connections).map(|index| {
        Ok(Worker {
            socket: socket(options)?,
            place: Place::start(index),
            started_at: 0,
            buffer: vec![0; options.size()],
            received: 0,
        })
    });
    let generator = Box::leak(Box::new(Generator {
        options,
        lane,
        address: options.connect.into(),
        pattern: Pattern::new(options.size()),
        workers: workers.collect::<anyhow::Result<_>>()?,
        meter: Meter::start(options),
        now: now_ns(),
    }));
    for slot in 0..u32::try_from(options.connections)? {
        generator.connect(slot)?;
    }
    while generator.meter.goes_on(generator.now)? {
        match options.wait {
            Wait::Sleep => generator.lane.enter(1).context("enter the ring")?,
            Wait::Spin if generator.lane.has_queued() || generator.lane.has_deferred() => {
                generator.lane.enter(0).context("enter the ring")?;
            }
            Wait::Spin => {}
        }
        completions.sync();
        generator.now = now_ns();
        if CompletionQueue::is_empty(&completions) {
            generator.meter.idle();
            std::hint::spin_loop();
            continue;
        }
        generator.meter.busy(generator.now);
        for entry in &mut completions {
            generator.complete(entry.user_data(), Outcome::of(&entry))?;
        }
    }
    generator.meter.report()
}

fn socket(options: &Options) -> anyhow::Result<Socket> {
    let socket =
        Socket::new(Domain::for_address(options.connect), Type::STREAM, None).context("open a socket")?;
    socket.set_tcp_nodelay(true)?;
    socket.set_linger(Some(Duration::ZERO))?;
    Ok(socket)
}

impl Generator<'_> {
    fn connect(&mut self, slot: u32) -> anyhow::Result<()> {
        let worker = &mut self.workers[slot as usize];
        worker.started_at = self.now;
        let fd = types::Fd(worker.socket.as_raw_fd());
        let address = self.address.as_ptr().cast();
        let connect = opcode::Connect::new(fd, address, self.address.len()).build();
        // SAFETY: [bench-lent] the address belongs to the generator, which is never freed.
        unsafe { self.lane.push(&connect.user_data(tag(CONNECT, slot))) }?;
        Ok(())
    }

    fn complete(&mut self, data: u64, outcome: Outcome) -> anyhow::Result<()> {
        let slot = data as u32;
        match (data >> 32) as u32 {
            CONNECT => {
                outcome.bytes().with_context(|| format!("connect to {}", self.options.connect))?;
                self.send(slot)
            }
            SEND => {
                let count = outcome.bytes().context("send")?;
                ensure!(count == self.options.size(), "a send was cut short");
                self.receive(slot)
            }
            RECEIVE => self.received(slot, outcome),
            kind => bail!("a completion of unknown kind {kind}"),
        }
    }

    fn send(&mut self, slot: u32) -> anyhow::Result<()> {
        let worker = &self.workers[slot as usize];
        let bytes = self.pattern.slice(worker.place, self.options.size());
        let fd = types::Fd(worker.socket.as_raw_fd());
        let send = opcode::Send::new(fd, bytes.as_ptr(), u32::try_from(bytes.len())?)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        // SAFETY: [bench-lent] the bytes belong to the table, which is never changed nor freed.
        unsafe { self.lane.push(&send.user_data(tag(SEND, slot))) }?;
        Ok(())
    }

    fn receive(&mut self, slot: u32) -> anyhow::Result<()> {
        let worker = &mut self.workers[slot as usize];
        let fd = types::Fd(worker.socket.as_raw_fd());
        let space = &mut worker.buffer[worker.received..];
        let receive = opcode::Recv::new(fd, space.as_mut_ptr(), u32::try_from(space.len())?);
        // SAFETY: [bench-lent] the buffer is never resized nor freed, and not read before the completion.
        unsafe { self.lane.push(&receive.build().user_data(tag(RECEIVE, slot))) }?;
        Ok(())
    }

    fn received(&mut self, slot: u32, outcome: Outcome) -> anyhow::Result<()> {
        let worker = &mut self.workers[slot as usize];
        match outcome.bytes().context("receive")? {
            0 => return Err(Fault::closed("the server closed a connection before it answered").into()),
            count => worker.received += count,
        }
        if worker.received < self.options.size() {
            return self.receive(slot);
        }
        if !self.pattern.matches(worker.place, &worker.buffer) {
            let text = format!("payload mismatch: {} bytes are not what was sent", worker.received);
            return Err(Fault::payload(text).into());
        }
        self.meter.record(self.now - worker.started_at);
        worker.place.advance(self.options.size());
        worker.received = 0;
        worker.socket = socket(self.options)?;
        self.connect(slot)
    }
}

/// User data: what it is, and whose.
fn tag(kind: u32, slot: u32) -> u64 {
    u64::from(kind) << 32 | u64::from(slot)
}
