//! Errors that carry more than an errno.
//!
//! Each travels inside an [`io::Error`] of the named kind; `get_ref` and `downcast_ref`
//! find it there. Errors of the kernel are never replaced by one of these.

use std::{fmt, io};

/// A line, or what `read_until` looks for, did not end within the limit.
///
/// Inside an [`io::Error`] of kind `InvalidData`. The bytes stay with the reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LineTooLong {
    /// The most bytes allowed, the end of the line included.
    pub limit: usize,
}

impl fmt::Display for LineTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "no end of line within {} bytes", self.limit)
    }
}

impl std::error::Error for LineTooLong {}

impl From<LineTooLong> for io::Error {
    fn from(error: LineTooLong) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// An input that was to be read to its end goes on behind the limit.
///
/// Inside an [`io::Error`] of kind `InvalidData`. The bytes read are in the buffer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InputTooLong {
    /// The most bytes allowed.
    pub limit: usize,
}

impl fmt::Display for InputTooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the input is longer than {} bytes", self.limit)
    }
}

impl std::error::Error for InputTooLong {}

impl From<InputTooLong> for io::Error {
    fn from(error: InputTooLong) -> Self {
        Self::new(io::ErrorKind::InvalidData, error)
    }
}

/// The input ended before the buffer was full.
///
/// Inside an [`io::Error`] of kind `UnexpectedEof`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EndedEarly {
    /// The bytes there were.
    pub got: usize,
    /// The bytes that were asked for.
    pub wanted: usize,
}

impl fmt::Display for EndedEarly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the input ended after {} of {} bytes", self.got, self.wanted)
    }
}

impl std::error::Error for EndedEarly {}

impl From<EndedEarly> for io::Error {
    fn from(error: EndedEarly) -> Self {
        Self::new(io::ErrorKind::UnexpectedEof, error)
    }
}

/// A write that took nothing of a buffer with bytes in it.
pub(super) fn write_zero() -> io::Error {
    io::Error::new(io::ErrorKind::WriteZero, "the stream takes no more bytes")
}
