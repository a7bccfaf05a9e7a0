//! Why a run failed, by kind: what a comparison counts.

use std::error::Error;
use std::fmt;
use std::io;

/// Something that a server did wrong and that no system call reports.
#[derive(Debug)]
pub(crate) struct Fault {
    kind: &'static str,
    text: String,
}

impl Fault {
    /// Bytes came back that are not those that were sent.
    pub(crate) fn payload(text: impl Into<String>) -> Self {
        Self { kind: "payload", text: text.into() }
    }

    /// The server closed a connection that it had to keep.
    pub(crate) fn closed(text: impl Into<String>) -> Self {
        Self { kind: "closed", text: text.into() }
    }

    /// The server did not do what it was waited for.
    pub(crate) fn silent(text: impl Into<String>) -> Self {
        Self { kind: "silent", text: text.into() }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Fault {}

/// The kind of an error, as the report names it.
pub(crate) fn kind(error: &anyhow::Error) -> &'static str {
    let by_cause = |cause: &(dyn Error + 'static)| {
        if let Some(fault) = cause.downcast_ref::<Fault>() {
            return Some(fault.kind);
        }
        match cause.downcast_ref::<io::Error>()?.kind() {
            io::ErrorKind::ConnectionRefused => Some("refused"),
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => Some("reset"),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Some("silent"),
            io::ErrorKind::UnexpectedEof => Some("closed"),
            _ => None,
        }
    };
    error.chain().find_map(by_cause).unwrap_or("other")
}
