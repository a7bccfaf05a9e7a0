//! Long-lived connections, each with a fixed number of messages in flight, or with messages at fixed times.
//!
//! A multishot receive per connection on buffers that go back at once; what has come back is
//! sent again as one entry, cut from the table of the pattern without a copy. With one message in flight
//! a send completes only if it fails: the answer shows that it went out.
//!
//! A closed loop is measured from rest to rest: nothing is under way when the server's clock is read. The
//! kernel brings the clock of a process that runs up to date at timer ticks only, so 4 ms late.
#![allow(unsafe_code, reason = "submits entries that name the pattern and receive buffers")]

use std::collections::VecDeque;
use std::net::TcpStream;
use std::os::fd::AsRawFd;
use std::thread;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use coronet_benches::buffers::{Buffers, GROUP, Sharing};
use coronet_benches::lane::{Lane, Outcome, Setup, Target};
use coronet_benches::pattern::{Pattern, Place};
use coronet_benches::process::now_ns;
use coronet_benches::report::Report;
use io_uring::{CompletionQueue, opcode, squeue};
use socket2::SockRef;

use crate::fault::Fault;
use crate::meter::Meter;
use crate::schedule::Schedule;
use crate::{Options, Wait};

/// What a completion belongs to: the upper half of the user data.
const RECEIVE: u32 = 0;
const SEND: u32 = 1;

struct Connection {
    /// Where the next sent byte stands in the stream.
    to_send: Place,
    /// Where the next received byte stands.
    to_receive: Place,
    /// Bytes of the current message that have come back.
    partial: usize,
    /// Bytes that the send in flight still has to take.
    sending: usize,
    /// Messages to send once it has.
    owed: usize,
    /// Messages that were sent and are not answered.
    flying: usize,
    /// Since when the clock runs for each message that is not answered, the oldest first. In a closed loop
    /// that is when it was sent; in an open loop when it was due, and those that are owed are among them.
    since: VecDeque<u64>,
}

struct Generator<'run> {
    options: &'run Options,
    size: usize,
    lane: Lane<'run>,
    buffers: Buffers,
    pattern: Pattern,
    connections: Vec<Connection>,
    starved: Vec<u32>,
    touched: Vec<u32>,
    /// In an open loop: when requests are due.
    schedule: Option<Schedule>,
    /// Messages that one send takes at most: as long as the table is.
    batch_max: usize,
    /// Messages that are not answered, and sends that are not complete.
    under_way: usize,
    /// Only failures of sends complete.
    quiet: bool,
    meter: Meter<'run>,
    now: u64,
}

/// What a server may need to fall asleep after its last answer.
const SETTLE: Duration = Duration::from_micros(200);

/// How long the last answers of a closed loop may take.
const LAST_ANSWER_MAX_NS: u64 = 2_000_000_000;

/// Connects, runs, reports: once, or each time that `next` wants another run.
pub(crate) fn run(
    options: &Options,
    mut next: impl FnMut(&Report) -> anyhow::Result<bool>,
) -> anyhow::Result<()> {
    let size = options.size();
    let in_flight = size * options.pipeline;
    // What piled up in an open loop goes out in pieces of this size.
    let table = if options.rate.is_some() { in_flight.max(64 << 10) } else { in_flight };
    let streams = connect(options)?;
    let setup = Setup { entries: 1024, completions: 16 * 1024, taskrun_flag: options.wait == Wait::Spin };
    let (ring, rung) = setup.build().context("set up the ring")?;
    ensure!(
        rung.starts_with("defer") || options.wait == Wait::Sleep,
        "spinning needs kernel 6.1; use --wait sleep"
    );
    // Leaked, like the buffers: the kernel may use them until the process ends.
    let ring = Box::leak(Box::new(ring));
    let (lane, mut completions) = Lane::open(ring);
    let buffers = register_buffers(&lane, in_flight * options.connections)?;
    let descriptors: Vec<i32> = streams.iter().map(AsRawFd::as_raw_fd).collect();
    lane.submitter().register_files(&descriptors).context("register the connections")?;
    let connections = (0..options.connections).map(|index| Connection {
        to_send: Place::start(index),
        to_receive: Place::start(index),
        partial: 0,
        sending: 0,
        owed: if options.rate.is_none() { options.pipeline } else { 0 },
        flying: 0,
        since: VecDeque::with_capacity(options.pipeline),
    });
    let generator = Box::leak(Box::new(Generator {
        options,
        size,
        lane,
        buffers,
        pattern: Pattern::new(table),
        connections: connections.collect(),
        starved: Vec::new(),
        touched: Vec::new(),
        schedule: options.rate.map(|rate| Schedule::new(now_ns(), rate)),
        batch_max: table / size,
        under_way: 0,
        quiet: options.rate.is_none() && options.pipeline == 1,
        meter: Meter::start(options),
        now: now_ns(),
    }));
    for slot in 0..u32::try_from(options.connections)? {
        generator.arm_receive(slot)?;
        generator.touched.push(slot);
    }
    loop {
        match generator.schedule {
            Some(_) => generator.run_on_schedule(&mut completions)?,
            None => generator.run_from_rest_to_rest(&mut completions)?,
        }
        if !next(&generator.meter.report()?)? {
            return Ok(());
        }
        generator.meter.restart();
    }
}

/// Opens all connections.
pub(crate) fn connect(options: &Options) -> anyhow::Result<Vec<TcpStream>> {
    (0..options.connections)
        .map(|index| {
            let stream = TcpStream::connect(options.connect)
                .with_context(|| format!("connect to {} (connection {})", options.connect, index + 1))?;
            stream.set_nodelay(true)?;
            if let Some(name) = &options.congestion {
                let socket = SockRef::from(&stream);
                socket
                    .set_tcp_congestion(name.as_bytes())
                    .with_context(|| format!("use congestion control {name:?}"))?;
            }
            Ok(stream)
        })
        .collect()
}

/// Large shared buffers if the kernel has them: enough for all that can be in flight, but no
/// more than the cache holds.
fn register_buffers(lane: &Lane<'_>, in_flight: usize) -> anyhow::Result<Buffers> {
    let total = in_flight.next_power_of_two().clamp(256 << 10, 1 << 20);
    for (sharing, count, size) in [(Sharing::Incremental, 8, total / 8), (Sharing::Whole, 128, 16 << 10)] {
        let mut buffers = Buffers::new(count, size, sharing).context("map the buffers")?;
        // SAFETY: [bench-lent] a successful registration goes into the leaked generator; after a failed one
        // the kernel does not know the buffers.
        if unsafe { buffers.register(lane.submitter()) }.is_ok() {
            return Ok(buffers);
        }
    }
    bail!("this kernel has no buffer rings (needs 5.19)")
}

impl Generator<'_> {
    /// Open loop: requests leave when they are due, whatever is under way.
    fn run_on_schedule(&mut self, completions: &mut CompletionQueue<'_>) -> anyhow::Result<()> {
        while self.meter.goes_on(self.now)? {
            self.turn(completions)?;
        }
        self.count_outstanding();
        Ok(())
    }

    /// Closed loop: a warm-up, then a window that begins and ends with nothing under way.
    fn run_from_rest_to_rest(&mut self, completions: &mut CompletionQueue<'_>) -> anyhow::Result<()> {
        self.now = now_ns();
        if self.meter.is_warming(self.now) {
            while self.meter.is_warming(self.now) {
                self.turn(completions)?;
            }
            self.come_to_rest(completions)?;
            thread::sleep(SETTLE);
        }
        self.meter.begin()?;
        self.now = now_ns();
        while self.meter.goes_on(self.now)? {
            self.turn(completions)?;
        }
        self.come_to_rest(completions)?;
        self.meter.end();
        thread::sleep(SETTLE);
        Ok(())
    }

    /// Sends nothing more, and waits for all answers. What is owed goes out with the next turn.
    fn come_to_rest(&mut self, completions: &mut CompletionQueue<'_>) -> anyhow::Result<()> {
        let patience = self.now + LAST_ANSWER_MAX_NS;
        while self.under_way > 0 {
            self.reap(completions)?;
            if self.now > patience {
                let text = format!("{} answers did not come within 2 s", self.under_way);
                return Err(Fault::silent(text).into());
            }
        }
        Ok(())
    }

    /// Sends what is owed, and takes what came back.
    #[inline]
    fn turn(&mut self, completions: &mut CompletionQueue<'_>) -> anyhow::Result<()> {
        self.release_due();
        while let Some(slot) = self.touched.pop() {
            self.send(slot)?;
        }
        self.reap(completions)
    }

    /// Enters the ring if there is a reason to, and takes what came back.
    #[inline]
    fn reap(&mut self, completions: &mut CompletionQueue<'_>) -> anyhow::Result<()> {
        match self.options.wait {
            Wait::Sleep => self.lane.enter(1).context("enter the ring")?,
            Wait::Spin if self.lane.has_queued() || self.lane.has_deferred() => {
                self.lane.enter(0).context("enter the ring")?;
            }
            Wait::Spin => {}
        }
        completions.sync();
        if CompletionQueue::is_empty(completions) {
            self.rest();
            return Ok(());
        }
        self.now = now_ns();
        self.meter.busy(self.now);
        // All that came back on a connection in this batch goes out as one send, at the next turn.
        for entry in &mut *completions {
            self.complete(entry.user_data(), Outcome::of(&entry))?;
        }
        self.buffers.publish();
        while let Some(slot) = self.starved.pop() {
            self.arm_receive(slot)?;
        }
        Ok(())
    }

    /// Nothing to do: watches the ring for a while, or until a request is due.
    fn rest(&mut self) {
        self.meter.idle();
        let due_at = self.schedule.map_or(u64::MAX, |schedule| schedule.next_at());
        for round in 0..1000 {
            if self.lane.has_deferred() || self.lane.has_queued() {
                break;
            }
            // Looking at the clock costs as much as a few rounds.
            if due_at != u64::MAX && round % 4 == 0 && now_ns() >= due_at {
                break;
            }
            std::hint::spin_loop();
        }
        self.now = now_ns();
    }

    /// Hands each request that is due to the next connection in turn.
    #[inline]
    fn release_due(&mut self) {
        let Some(schedule) = &mut self.schedule else { return };
        while let Some((number, due_at)) = schedule.release(self.now) {
            let slot = usize::try_from(number).unwrap_or(0) % self.connections.len();
            let connection = &mut self.connections[slot];
            connection.owed += 1;
            connection.since.push_back(due_at);
            self.touched.push(u32::try_from(slot).expect("connections fit the user data"));
            self.meter.busy(self.now);
        }
    }

    /// Open loop: what is not answered when the time is over counts with its age.
    fn count_outstanding(&mut self) {
        if self.schedule.is_none() {
            return;
        }
        self.release_due();
        for due_at in self.connections.iter().flat_map(|connection| &connection.since) {
            self.meter.outstanding(self.now.saturating_sub(*due_at));
        }
    }

    #[inline]
    fn complete(&mut self, data: u64, outcome: Outcome) -> anyhow::Result<()> {
        let slot = data as u32;
        match (data >> 32) as u32 {
            RECEIVE => self.received(slot, outcome),
            _ => self.sent(slot, outcome),
        }
    }

    fn arm_receive(&mut self, slot: u32) -> anyhow::Result<()> {
        let target = Target::Direct(slot);
        let entry = target.mark(opcode::RecvMulti::new(target.fd(), GROUP).build());
        // SAFETY: [bench-lent] the receive names no memory; the buffers it picks are never unmapped.
        unsafe { self.lane.push(&entry.user_data(tag(RECEIVE, slot))) }?;
        Ok(())
    }

    #[inline]
    fn received(&mut self, slot: u32, outcome: Outcome) -> anyhow::Result<()> {
        let (size, closed) = (self.size, self.schedule.is_none());
        let Self { connections, buffers, pattern, meter, under_way, .. } = self;
        let connection = &mut connections[slot as usize];
        let count = match outcome.bytes() {
            Ok(0) => return Err(Fault::closed(format!("the server closed connection {slot}")).into()),
            Ok(count) => count,
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                self.starved.push(slot);
                return Ok(());
            }
            Err(error) => return Err(error).context(format!("receive on connection {slot}")),
        };
        let mut first = None;
        buffers.received(outcome, |segment| first = Some(segment));
        let segment = first.context("the kernel named no buffer")?;
        // SAFETY: [buffer-held] the segment was just received and is released below.
        let bytes = unsafe { buffers.bytes(segment) };
        let right = pattern.matches(connection.to_receive, bytes);
        connection.to_receive.advance(count);
        buffers.release(segment);
        connection.partial += count;
        if !right {
            let text = format!("payload mismatch on connection {slot}: {count} bytes are not what was sent");
            return Err(Fault::payload(text).into());
        }
        if connection.partial > connection.flying * size {
            let text = format!("connection {slot} got more than was sent to the server");
            return Err(Fault::payload(text).into());
        }
        let was_idle = connection.owed == 0;
        while connection.partial >= size {
            connection.partial -= size;
            connection.flying -= 1;
            *under_way -= 1;
            let since = connection.since.pop_front().context("an answer to nothing")?;
            meter.record(self.now - since);
            connection.owed += usize::from(closed);
        }
        if was_idle && connection.owed > 0 && connection.sending == 0 {
            self.touched.push(slot);
        }
        if outcome.more() { Ok(()) } else { self.arm_receive(slot) }
    }

    /// Sends all messages that are owed, unless a send is in flight.
    #[inline]
    fn send(&mut self, slot: u32) -> anyhow::Result<()> {
        let closed = self.schedule.is_none();
        let connection = &mut self.connections[slot as usize];
        if connection.sending > 0 || connection.owed == 0 {
            return Ok(());
        }
        let count = connection.owed.min(self.batch_max);
        if closed {
            for _ in 0..count {
                connection.since.push_back(self.now);
            }
        }
        connection.owed -= count;
        connection.flying += count;
        connection.sending = count * self.size;
        self.under_way += count + usize::from(!self.quiet);
        self.push_send(slot)
    }

    #[inline]
    fn push_send(&mut self, slot: u32) -> anyhow::Result<()> {
        let connection = &mut self.connections[slot as usize];
        let bytes = self.pattern.slice(connection.to_send, connection.sending);
        let len = u32::try_from(bytes.len())?;
        let target = Target::Direct(slot);
        let send = opcode::Send::new(target.fd(), bytes.as_ptr(), len)
            .flags(libc::MSG_WAITALL | libc::MSG_NOSIGNAL)
            .build();
        let mut send = target.mark(send).user_data(tag(SEND, slot));
        if self.quiet {
            // With MSG_WAITALL a short send is a failure, so it completes all the same.
            send = send.flags(squeue::Flags::FIXED_FILE | squeue::Flags::SKIP_SUCCESS);
            connection.to_send.advance(connection.sending);
            connection.sending = 0;
        }
        // SAFETY: [bench-lent] the bytes belong to the table, which is never changed nor freed.
        unsafe { self.lane.push(&send) }?;
        Ok(())
    }

    #[inline]
    fn sent(&mut self, slot: u32, outcome: Outcome) -> anyhow::Result<()> {
        let count = outcome.bytes().with_context(|| format!("send on connection {slot}"))?;
        ensure!(!self.quiet, "a send on connection {slot} was cut short after {count} bytes");
        let connection = &mut self.connections[slot as usize];
        connection.to_send.advance(count);
        connection.sending -= count;
        if connection.sending > 0 {
            return self.push_send(slot);
        }
        self.under_way -= 1;
        if connection.owed > 0 {
            self.touched.push(slot);
        }
        Ok(())
    }
}

/// User data: what it is, and whose.
fn tag(kind: u32, slot: u32) -> u64 {
    u64::from(kind) << 32 | u64::from(slot)
}
