//! What the proxy counts, and the page on which a Prometheus server reads it.

use std::fmt::Write;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use coronet::net::{TcpListener, TcpStream};
use coronet::sync::Semaphore;
use coronet::time::timeout;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CoreLabel {
    core: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DirectionLabel {
    direction: &'static str,
    core: usize,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: Failure,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct UpstreamLabel {
    upstream: String,
    address: String,
}

/// What can go wrong with a connection. One that ends on its own accord is none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the values of the label")]
pub(crate) enum Failure {
    /// No PROXY header where one is asked for.
    bad_header,
    /// The PROXY header took too long.
    header_timeout,
    /// A connect to an upstream failed; the next one was tried.
    connect,
    /// As `connect`, because it took too long.
    connect_timeout,
    /// No upstream is up, or none could be connected to.
    no_upstream,
    /// The client reset its connection.
    client_reset,
    /// The upstream reset its connection.
    upstream_reset,
    /// The connection to the client failed otherwise, or its bytes were not acknowledged in time.
    client_io,
    /// The same with the upstream.
    upstream_io,
    /// Nothing was carried for too long.
    idle,
    /// It was open still when the drain was over.
    cut,
    /// A name could not be looked up.
    resolve,
}

use Failure::{
    bad_header, client_io, client_reset, connect, connect_timeout, cut, header_timeout, idle, no_upstream,
    resolve, upstream_io, upstream_reset,
};

const FAILURES: [Failure; 12] = [
    bad_header,
    header_timeout,
    connect,
    connect_timeout,
    no_upstream,
    client_reset,
    upstream_reset,
    client_io,
    upstream_io,
    idle,
    cut,
    resolve,
];

/// The counters of the process.
pub(crate) struct Metrics {
    registry: Registry,
    accepted: Family<CoreLabel, Counter>,
    bytes: Family<DirectionLabel, Counter>,
    failures: Family<KindLabel, Counter>,
    connect_seconds: Family<UpstreamLabel, Histogram, fn() -> Histogram>,
    up: Family<UpstreamLabel, Gauge>,
    upstream_open: Family<UpstreamLabel, Gauge>,
    upstream_failed: Family<UpstreamLabel, Counter>,
    /// Connections of clients that are open now.
    pub(crate) open: Gauge,
    /// How often accepting stopped because of `max-conns`.
    pub(crate) paused: Counter,
    /// How often the configuration was read again with success.
    pub(crate) reloads: Counter,
    /// How often it was read again and was wrong.
    pub(crate) reloads_failed: Counter,
}

/// The counters of one core, which no other core writes to.
pub(crate) struct OfCore {
    pub(crate) accepted: Counter,
    pub(crate) up: Counter,
    pub(crate) down: Counter,
}

/// The counters of one upstream.
pub(crate) struct OfUpstream {
    pub(crate) connect_seconds: Histogram,
    pub(crate) failed: Counter,
    pub(crate) up: Gauge,
    pub(crate) open: Gauge,
}

/// From a tenth of a millisecond, a network of one rack, to some seconds, a lost packet or two.
fn connect_buckets() -> Histogram {
    Histogram::new([
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    ])
}

impl Metrics {
    pub(crate) fn new() -> Arc<Self> {
        let mut registry = Registry::with_prefix("proxy");
        let connect_seconds: Family<_, _, fn() -> Histogram> = Family::new_with_constructor(connect_buckets);
        let metrics = Self {
            accepted: Family::default(),
            bytes: Family::default(),
            failures: Family::default(),
            connect_seconds,
            up: Family::default(),
            upstream_open: Family::default(),
            upstream_failed: Family::default(),
            open: Gauge::default(),
            paused: Counter::default(),
            reloads: Counter::default(),
            reloads_failed: Counter::default(),
            registry: Registry::default(),
        };
        let connections = "Connections of clients";
        registry.register(
            "connections",
            format!("{connections} that were accepted"),
            metrics.accepted.clone(),
        );
        registry.register("connections_open", format!("{connections} that are open"), metrics.open.clone());
        registry.register("bytes", "Bytes to upstreams (up) and back (down)", metrics.bytes.clone());
        registry.register("errors", "What went wrong, by kind", metrics.failures.clone());
        let pauses = "Times that accepting stopped because of max-conns";
        registry.register("accept_pauses", pauses, metrics.paused.clone());
        let seconds = "Time that connects to upstreams took";
        registry.register("connect_seconds", seconds, metrics.connect_seconds.clone());
        registry.register("upstream_up", "Whether the upstream gets connections", metrics.up.clone());
        let open = "Connections to the upstream";
        registry.register("upstream_connections_open", open, metrics.upstream_open.clone());
        let failed = "Connects to the upstream that failed";
        registry.register("upstream_connect_errors", failed, metrics.upstream_failed.clone());
        registry.register("reloads", "Configurations that were read again", metrics.reloads.clone());
        let failed = "Configurations that were read again and were wrong";
        registry.register("reload_errors", failed, metrics.reloads_failed.clone());
        for kind in FAILURES {
            // Shown as zero from the start, so that a first error is a rise.
            metrics.failures.get_or_create_owned(&KindLabel { kind });
        }
        Arc::new(Self { registry, ..metrics })
    }

    pub(crate) fn failed(&self, kind: Failure) {
        self.failures.get_or_create(&KindLabel { kind }).inc();
    }

    /// How often it was counted.
    pub(crate) fn failures(&self, kind: Failure) -> u64 {
        self.failures.get_or_create(&KindLabel { kind }).get()
    }

    pub(crate) fn of_core(&self, core: usize) -> OfCore {
        let bytes = |direction| self.bytes.get_or_create_owned(&DirectionLabel { direction, core });
        let accepted = self.accepted.get_or_create_owned(&CoreLabel { core });
        OfCore { accepted, up: bytes("up"), down: bytes("down") }
    }

    pub(crate) fn of_upstream(&self, upstream: &str, address: SocketAddr) -> OfUpstream {
        let label = UpstreamLabel { upstream: upstream.to_owned(), address: address.to_string() };
        let up = self.up.get_or_create_owned(&label);
        up.set(1);
        OfUpstream {
            connect_seconds: self.connect_seconds.get_or_create_owned(&label),
            failed: self.upstream_failed.get_or_create_owned(&label),
            up,
            open: self.upstream_open.get_or_create_owned(&label),
        }
    }

    pub(crate) fn forget_upstream(&self, upstream: &str, address: SocketAddr) {
        let label = UpstreamLabel { upstream: upstream.to_owned(), address: address.to_string() };
        self.connect_seconds.remove(&label);
        self.upstream_failed.remove(&label);
        self.up.remove(&label);
        self.upstream_open.remove(&label);
    }

    fn page(&self) -> String {
        let mut page = String::new();
        match prometheus_client::encoding::text::encode(&mut page, &self.registry) {
            Ok(()) => page,
            Err(error) => format!("# {error}\n"),
        }
    }
}

/// Scrapers at once; more wait.
const READERS_MAX: usize = 16;
/// A request head that is longer is not one of a scraper.
const REQUEST_MAX: usize = 8 * 1024;
/// A scraper that takes longer is not one.
const REQUEST_TIME_MAX: Duration = Duration::from_secs(5);

/// Answers scrapers, for ever.
///
/// # Cancellation
/// Safe. Answers that were begun go on.
pub(crate) async fn serve(listener: TcpListener, metrics: Arc<Metrics>) {
    let readers = Rc::new(Semaphore::new(READERS_MAX));
    while let Ok((stream, _)) = listener.accept().await {
        if let Ok(permit) = readers.acquire().await {
            permit.forget();
        }
        let (metrics, readers) = (metrics.clone(), readers.clone());
        coronet::spawn(async move {
            // Who asks wrongly or slowly gets nothing; there is nobody else to tell.
            let _ = timeout(REQUEST_TIME_MAX, answer(&stream, &metrics)).await;
            readers.add_permits(1);
        });
    }
}

async fn answer(stream: &TcpStream, metrics: &Metrics) -> std::io::Result<()> {
    let mut head = Vec::new();
    let status = loop {
        let bytes = stream.recv().await?;
        head.extend_from_slice(&bytes);
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(&head) {
            Ok(httparse::Status::Complete(_)) => {
                let path = request.path.unwrap_or_default();
                break match (request.method, path.split('?').next().unwrap_or_default()) {
                    (Some("GET"), "/metrics") => "200 OK",
                    (Some("GET"), _) => "404 Not Found",
                    _ => "405 Method Not Allowed",
                };
            }
            Ok(httparse::Status::Partial) if !bytes.is_empty() && head.len() < REQUEST_MAX => {}
            _ => break "400 Bad Request",
        }
    };
    let (kind, page) = match status {
        "200 OK" => ("application/openmetrics-text; version=1.0.0; charset=utf-8", metrics.page()),
        _ => ("text/plain", format!("{status}: the metrics are at /metrics\n")),
    };
    let mut text = String::new();
    let length = page.len();
    let _ = write!(
        text,
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{page}"
    );
    stream.write_all(text).await.0?;
    stream.shutdown(coronet::net::Shutdown::Write)?;
    // Closing with unread bytes would reset the answer away.
    while !stream.recv().await?.is_empty() {}
    Ok(())
}
