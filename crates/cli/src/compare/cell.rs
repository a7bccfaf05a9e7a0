//! A cell: one workload in one shape. Names, units and titles of cells are made here only.

use std::fmt;

use clap::ValueEnum;
use serde::{Deserialize, Serialize};

/// What the generator does with a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Workload {
    /// One message at a time per connection; each comes back and is verified.
    Echo,
    /// Several messages in flight per connection.
    Pipelined,
    /// Connect, exchange one message, close.
    Churn,
    /// One way: the generator sends, the server reads and drops.
    Stream,
    /// An echo through a proxy.
    Proxy,
    /// One way through a proxy, to a server that reads and drops.
    Relay,
    /// Echo at a fixed rate, the same for all: latency without coordinated omission.
    Latency,
    /// Connections that do nothing: what memory they hold.
    Idle,
}

impl Workload {
    /// The word on the command line and in the names of cells.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Echo => "echo",
            Self::Pipelined => "pipelined",
            Self::Churn => "churn",
            Self::Stream => "stream",
            Self::Proxy => "proxy",
            Self::Relay => "relay",
            Self::Latency => "latency",
            Self::Idle => "idle",
        }
    }

    /// The metrics that are compared; the first is the one that charts show.
    pub(crate) fn metrics(self) -> &'static [Metric] {
        match self {
            Self::Echo | Self::Pipelined | Self::Churn | Self::Stream | Self::Proxy | Self::Relay => {
                &[Metric::Throughput, Metric::Cpu]
            }
            Self::Latency => &[Metric::P99, Metric::Cpu],
            Self::Idle => &[Metric::Memory],
        }
    }

    /// Whether the row is a proxy, and what it connects to does this.
    pub(crate) fn behind_the_proxy(self) -> Option<Self> {
        match self {
            Self::Proxy => Some(Self::Echo),
            Self::Relay => Some(Self::Stream),
            Self::Echo | Self::Pipelined | Self::Churn | Self::Stream | Self::Latency | Self::Idle => None,
        }
    }

    /// True if bytes go one way, so that their rate says more than that of messages.
    pub(crate) fn is_one_way(self) -> bool {
        matches!(self, Self::Stream | Self::Relay)
    }

    /// Whether rows can be measured in turn on servers that stand side by side: those that answer, over
    /// connections that stay. Churn leaves sockets behind, streams have no rest, and the others are about time or memory.
    pub(crate) fn takes_turns(self) -> bool {
        match self {
            Self::Echo | Self::Pipelined | Self::Proxy => true,
            Self::Churn | Self::Stream | Self::Relay | Self::Latency | Self::Idle => false,
        }
    }

    /// What one request is, in the plural.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Echo | Self::Pipelined | Self::Proxy | Self::Latency => "requests",
            Self::Churn => "connections",
            Self::Stream | Self::Relay => "messages",
            Self::Idle => "idle connections",
        }
    }
}

/// What two rows are compared by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Metric {
    /// Requests per second; more is better.
    Throughput,
    /// The server's CPU time per request; less is better.
    Cpu,
    /// The latency that one request in a hundred exceeds; less is better.
    P99,
    /// Resident memory per idle connection; less is better.
    Memory,
}

impl Metric {
    /// True if a larger figure is the better one.
    pub(crate) fn more_is_better(self) -> bool {
        match self {
            Self::Throughput => true,
            Self::Cpu | Self::P99 | Self::Memory => false,
        }
    }

    /// The words in sentences and headers.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Throughput => "throughput",
            Self::Cpu => "CPU per request",
            Self::P99 => "p99 latency",
            Self::Memory => "memory per idle connection",
        }
    }
}

/// One workload in one shape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    pub(crate) workload: Workload,
    /// Bytes per message.
    pub(crate) size: usize,
    pub(crate) connections: usize,
    /// Messages in flight per connection.
    pub(crate) pipeline: usize,
}

impl Cell {
    pub(crate) const fn new(workload: Workload, size: usize, connections: usize, pipeline: usize) -> Self {
        Self { workload, size, connections, pipeline }
    }

    /// The name, as `--only` takes it.
    pub(crate) fn id(self) -> String {
        format!("{}-{}", self.workload.word(), self.shape())
    }

    /// The cell that has this name.
    pub(crate) fn called(name: &str) -> Option<Self> {
        let (word, shape) = name.split_once('-')?;
        let workload = Workload::from_str(word, false).ok()?;
        let mut numbers = shape.split('x');
        let (size, connections, pipeline) = (numbers.next()?, numbers.next()?, numbers.next()?);
        let (size, unit) = size.strip_suffix('K').map_or((size, 1), |size| (size, 1 << 10));
        let size = size.parse::<usize>().ok()?.checked_mul(unit)?;
        let cell = Self::new(workload, size, connections.parse().ok()?, pipeline.parse().ok()?);
        // One name for each cell, and nothing that cannot be.
        let is_sound = size > 0 && cell.connections > 0 && cell.pipeline > 0 && cell.id() == name;
        let has_pipeline = workload == Workload::Pipelined || cell.pipeline == 1;
        (is_sound && has_pipeline && numbers.next().is_none()).then_some(cell)
    }

    fn shape(self) -> String {
        format!("{}x{}x{}", short_size(self.size), self.connections, self.pipeline)
    }

    /// True if `word` is this cell's name or that of its workload.
    pub(crate) fn is_called(self, word: &str) -> bool {
        word == self.workload.word() || word == self.id()
    }

    /// Bytes that may be under way at the same time.
    pub(crate) fn bytes_in_flight(self) -> usize {
        self.size.saturating_mul(self.connections).saturating_mul(self.pipeline)
    }

    /// A title for people.
    pub(crate) fn title(self) -> String {
        let connections = match self.connections {
            1 => "1 connection".to_owned(),
            many => format!("{many} connections"),
        };
        let size = long_size(self.size);
        match self.workload {
            Workload::Echo => format!("Echo, {size}, {connections}"),
            Workload::Pipelined => {
                format!("Pipelined echo, {size}, {connections}, {} in flight", self.pipeline)
            }
            Workload::Churn => format!("Connect, echo {size}, close; {connections} at a time"),
            Workload::Stream => format!("One-way stream, {size} messages, {connections}"),
            Workload::Proxy => format!("Proxy, {size}, {connections}"),
            Workload::Relay => format!("One-way stream through a proxy, {size} messages, {connections}"),
            Workload::Latency => format!("Echo at a fixed rate, {size}, {connections}"),
            Workload::Idle => format!("{} idle connections", self.connections),
        }
    }
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.id())
    }
}

fn short_size(bytes: usize) -> String {
    if bytes >= 1024 && bytes.is_multiple_of(1024) { format!("{}K", bytes / 1024) } else { bytes.to_string() }
}

/// `64 B`, `16 KiB`.
pub(crate) fn long_size(bytes: usize) -> String {
    if bytes >= 1024 && bytes.is_multiple_of(1024) {
        format!("{} KiB", bytes / 1024)
    } else {
        format!("{bytes} B")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_answers_to_its_own_name_and_to_its_workload() {
        let cell = Cell::new(Workload::Echo, 16 << 10, 8, 1);
        assert_eq!(cell.id(), "echo-16Kx8x1");
        assert!(cell.is_called("echo") && cell.is_called("echo-16Kx8x1"));
        assert!(!cell.is_called("echo-16Kx8") && !cell.is_called("stream"));
    }

    #[test]
    fn a_name_makes_a_cell_of_any_shape_and_nothing_else_does() {
        let named = |name| Cell::called(name);
        assert_eq!(named("echo-64x1000x1"), Some(Cell::new(Workload::Echo, 64, 1000, 1)));
        assert_eq!(named("pipelined-16Kx2x3"), Some(Cell::new(Workload::Pipelined, 16 << 10, 2, 3)));
        let wrong = [
            "echo",
            "echo-64x1",
            "echo-64x1x1x1",
            "echo-0x1x1",
            "echo-64x0x1",
            "echo-064x1x1",
            "ecko-64x1x1",
        ];
        assert!(wrong.iter().chain(&["echo-64x1x16", "echo-1024x1x1"]).all(|name| named(name).is_none()));
    }
}
