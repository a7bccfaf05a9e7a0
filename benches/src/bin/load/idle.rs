//! Connections that do nothing: what they hold in memory, at the server and in the kernel.
//!
//! Each exchanges one message, so that the server has set up all it sets up. The kernel's memory is that of
//! the whole machine, and has both ends of every connection: on a machine that is otherwise quiet, the
//! difference between two servers is theirs.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use coronet_benches::memory::Sample;
use coronet_benches::pattern::{Pattern, Place};
use coronet_benches::process::own_cpu_ns;
use coronet_benches::report::{Held, Memory, Report};
use rustix::process::{Resource, getrlimit, setrlimit};
use socket2::{Domain, Socket, Type};

use crate::Options;
use crate::fault::Fault;
use crate::meter::Meter;

/// How long a server may take for one message.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// How long the memory is left to settle before it is read: the kernel frees sockets a little later.
const SETTLE: Duration = Duration::from_millis(500);
/// From one address there are about 28,000 ports.
const PER_ADDRESS: usize = 20_000;

/// Runs and reports.
pub(crate) fn run(options: &Options) -> anyhow::Result<Report> {
    raise_descriptor_limit(options.connections)?;
    let pattern = Pattern::new(options.size());
    let mut buffer = vec![0; options.size()];
    // What the first connection sets up once is not part of a connection.
    exchange(&mut connect(options, 0)?, &pattern, 0, &mut buffer)?;
    thread::sleep(SETTLE);
    let before = sample(options)?;
    let mut meter = Meter::start(options);
    meter.begin()?;
    let own_before = own_cpu_ns();
    let started = Instant::now();
    let mut streams = Vec::with_capacity(options.connections);
    for index in 0..options.connections {
        let mut stream = connect(options, index)?;
        let sent = Instant::now();
        exchange(&mut stream, &pattern, index, &mut buffer)?;
        meter.record(u64::try_from(sent.elapsed().as_nanos())?);
        streams.push(stream);
    }
    let share = (own_cpu_ns() - own_before) as f64 / started.elapsed().as_nanos() as f64;
    let mut report = meter.report()?;
    thread::sleep(SETTLE);
    let open = sample(options)?;
    drop(streams);
    thread::sleep(SETTLE);
    let closed = sample(options)?;
    report.generator_share = share;
    report.generator_bound = false;
    report.memory = Some(compare(options.connections, &before, &open, &closed));
    Ok(report)
}

fn sample(options: &Options) -> anyhow::Result<Sample> {
    Sample::take(options.server_pid).context("read the memory of the server")
}

fn raise_descriptor_limit(connections: usize) -> anyhow::Result<()> {
    let wanted = connections as u64 + 64;
    let mut limit = getrlimit(Resource::Nofile);
    if limit.current.is_some_and(|current| current < wanted) {
        ensure!(
            limit.maximum.is_none_or(|maximum| maximum >= wanted),
            "{connections} connections need {wanted} descriptors; the hard limit is {}",
            limit.maximum.unwrap_or(0)
        );
        limit.current = Some(wanted);
        setrlimit(Resource::Nofile, limit).context("raise the limit of descriptors")?;
    }
    Ok(())
}

fn connect(options: &Options, index: usize) -> anyhow::Result<TcpStream> {
    let what = || format!("connect to {} (connection {})", options.connect, index + 1);
    let socket = Socket::new(Domain::for_address(options.connect), Type::STREAM, None)?;
    socket.set_tcp_nodelay(true)?;
    if options.connect.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST) && index >= PER_ADDRESS {
        let host = u8::try_from(1 + index / PER_ADDRESS).context("too many connections for one network")?;
        let from = SocketAddr::from(([127, 0, 0, host], 0));
        socket.bind(&from.into()).with_context(|| format!("connect from {from}"))?;
    }
    socket.connect(&options.connect.into()).with_context(what)?;
    socket.set_read_timeout(Some(ANSWER_MAX))?;
    Ok(socket.into())
}

fn exchange(
    stream: &mut TcpStream,
    pattern: &Pattern,
    index: usize,
    buffer: &mut [u8],
) -> anyhow::Result<()> {
    let place = Place::start(index);
    let what = || format!("exchange a message on connection {}", index + 1);
    stream.write_all(pattern.slice(place, buffer.len())).with_context(what)?;
    stream.read_exact(buffer).with_context(what)?;
    if !pattern.matches(place, buffer) {
        let text = format!("payload mismatch on connection {index}: not what was sent");
        return Err(Fault::payload(text).into());
    }
    Ok(())
}

fn compare(connections: usize, before: &Sample, open: &Sample, closed: &Sample) -> Memory {
    let per_connection = |before: u64, open: u64| (open as f64 - before as f64) / connections as f64;
    let held = |read: fn(&Sample) -> u64| {
        let (before, open, closed) = (read(before), read(open), read(closed));
        Held { before, open, closed, per_connection: per_connection(before, open) }
    };
    let slabs = open.slabs.iter().filter_map(|(name, bytes)| {
        let grown = per_connection(before.slabs.get(name).copied().unwrap_or(0), *bytes);
        (grown >= 1.0).then(|| (name.clone(), grown))
    });
    Memory {
        server_rss: held(|sample| sample.rss),
        server_pss: held(|sample| sample.pss),
        kernel_unreclaimable: held(|sample| sample.unreclaimable),
        kernel_stacks: held(|sample| sample.stacks),
        slabs_per_connection: slabs.collect(),
    }
}
