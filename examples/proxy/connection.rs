//! One connection of a client, from its first byte to its end: the PROXY header, the upstream, the relay.

use std::io;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coronet::net::TcpStream;
use coronet::time::{Instant, timeout};

use crate::config::Settings;
use crate::drain::Connections;
use crate::limit::Permit;
use crate::metrics::{Failure, OfCore};
use crate::proxy_protocol::{self, Ends, HEADER_MAX, Parsed};
use crate::relay::{End, Fault, Side, relay};
use crate::shared::Shared;
use crate::upstreams::InUse;

/// What the connections of one core need.
pub(crate) struct Site {
    pub(crate) shared: Arc<Shared>,
    pub(crate) counters: OfCore,
    pub(crate) connections: Connections,
}

/// Serves a client to its end, in a task of its own.
pub(crate) fn start(site: &Rc<Site>, client: TcpStream, permit: Permit) {
    let site = site.clone();
    site.counters.accepted.inc();
    // Now, and not when the task first runs: a drain that begins before must know of it.
    let open = site.connections.enter(&site.shared.metrics.open);
    coronet::spawn(async move {
        let _held = (permit, open);
        // Clients fail all the time: that is counted, not told.
        if let Err(kind) = serve(&site, client).await {
            site.shared.metrics.failed(kind);
        }
    });
}

async fn serve(site: &Site, client: TcpStream) -> Result<(), Failure> {
    let settings = site.shared.settings();
    // What cannot be set or asked on a connection that is gone comes out with its first byte.
    let _ = prepare(&client, &settings);
    let (Ok(source), Ok(destination)) = (client.peer_addr(), client.local_addr()) else {
        return Err(Failure::client_reset);
    };
    let mut ends = Ends { source, destination };
    let mut first = Vec::new();
    if settings.proxy_protocol.is_in() {
        let header = timeout(settings.header_timeout, read_header(&client));
        let (told, rest) = header.await.unwrap_or(Err(Failure::header_timeout))?;
        ends = told.unwrap_or(ends);
        first = rest;
    }
    let (upstream, _in_use) = connect(site, &settings).await.ok_or(Failure::no_upstream)?;
    let _ = prepare(&upstream, &settings);
    let passed_on = first.len() as u64;
    if settings.proxy_protocol.is_out() {
        let mut header = proxy_protocol::header(settings.proxy_protocol_version, ends)
            .map_err(|_| Failure::upstream_io)?;
        header.append(&mut first);
        first = header;
    }
    let result = async {
        // Nothing is in the way of it: the socket is new, and its buffer larger than this.
        upstream.write_all(first).await.0.map_err(|error| Fault::Side(Side::Upstream, error))?;
        site.counters.up.inc_by(passed_on);
        let client = End { side: Side::Client, stream: &client, bytes: &site.counters.up };
        let upstream = End { side: Side::Upstream, stream: &upstream, bytes: &site.counters.down };
        relay(client, upstream, settings.idle_timeout, site.connections.cut()).await
    }
    .await;
    result.map_err(|fault| {
        // An end would say that all has come. It fails for a connection that is gone, which is as good.
        let _ = client.reset();
        let _ = upstream.reset();
        fault.kind()
    })
}

/// After so long without a byte, the kernel asks a peer whether it is there, so that one that vanished is
/// noticed although nobody writes to it.
const KEEPALIVE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(10));

fn prepare(stream: &TcpStream, settings: &Settings) -> io::Result<()> {
    stream.set_nodelay(true)?;
    stream.set_keepalive(KEEPALIVE.0, KEEPALIVE.1)?;
    match settings.user_timeout {
        Some(limit) => stream.set_user_timeout(Some(limit)),
        None => Ok(()),
    }
}

/// What the client's header tells, and the bytes that came behind it.
async fn read_header(client: &TcpStream) -> Result<(Option<Ends>, Vec<u8>), Failure> {
    let mut bytes = Vec::new();
    loop {
        let more = client.recv().await.map_err(|_| Failure::client_reset)?;
        if more.is_empty() {
            return Err(Failure::bad_header);
        }
        bytes.extend_from_slice(&more);
        // A header that is complete may have any number of bytes behind it.
        match proxy_protocol::parse(&bytes) {
            Parsed::Header { len, ends } => return Ok((ends, bytes.split_off(len))),
            Parsed::More if bytes.len() < HEADER_MAX => {}
            Parsed::More | Parsed::Bad => return Err(Failure::bad_header),
        }
    }
}

/// A connection to the first upstream that takes one; `None` if none does.
async fn connect(site: &Site, settings: &Settings) -> Option<(TcpStream, InUse)> {
    let mut tried: Vec<SocketAddr> = Vec::new();
    loop {
        let endpoint = site.shared.upstreams.pick(settings.balance, &tried)?;
        // Counted from here on: connects under way are load, too.
        let in_use = endpoint.in_use();
        let start = Instant::now();
        match endpoint.connect(settings.connect_timeout).await {
            Ok(stream) => {
                endpoint.metrics.connect_seconds.observe(start.elapsed().as_secs_f64());
                return Some((stream, in_use));
            }
            Err(error) => {
                endpoint.metrics.failed.inc();
                let is_late = error.kind() == io::ErrorKind::TimedOut;
                let kind = if is_late { Failure::connect_timeout } else { Failure::connect };
                site.shared.metrics.failed(kind);
                tried.push(endpoint.address);
            }
        }
    }
}
