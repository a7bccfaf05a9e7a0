//! The two directions of a stream apart, borrowed or owned.
//!
//! Borrowed halves are for one task; owned halves go to tasks of their own. Their methods are
//! those of [`AsyncRead`](crate::io::AsyncRead) and [`AsyncWrite`](crate::io::AsyncWrite).

use std::fmt;
use std::net::Shutdown;
use std::rc::Rc;

use super::TcpStream;

/// The reading half of a borrowed stream.
#[derive(Debug)]
pub struct ReadHalf<'a>(&'a TcpStream);

/// The writing half of a borrowed stream.
#[derive(Debug)]
pub struct WriteHalf<'a>(&'a TcpStream);

/// The reading half of a stream.
#[derive(Debug)]
pub struct OwnedReadHalf(Rc<TcpStream>);

/// The writing half of a stream. Dropping it ends this direction, as `shutdown` does, unless a
/// dropped write is under way: then the end of the stream follows that.
#[derive(Debug)]
pub struct OwnedWriteHalf {
    stream: Rc<TcpStream>,
    ends_on_drop: bool,
}

impl TcpStream {
    /// The two directions, borrowed.
    pub fn split(&self) -> (ReadHalf<'_>, WriteHalf<'_>) {
        (ReadHalf(self), WriteHalf(self))
    }

    /// The two directions, each its own owner.
    pub fn into_split(self) -> (OwnedReadHalf, OwnedWriteHalf) {
        let stream = Rc::new(self);
        (OwnedReadHalf(stream.clone()), OwnedWriteHalf { stream, ends_on_drop: true })
    }
}

impl ReadHalf<'_> {
    /// The whole stream.
    pub fn stream(&self) -> &TcpStream {
        self.0
    }
}

impl WriteHalf<'_> {
    /// The whole stream.
    pub fn stream(&self) -> &TcpStream {
        self.0
    }
}

impl OwnedReadHalf {
    /// The whole stream.
    pub fn stream(&self) -> &TcpStream {
        &self.0
    }

    /// Puts the two halves of one stream together again.
    ///
    /// # Errors
    /// Both halves, if they are not of the same stream.
    pub fn reunite(self, mut write: OwnedWriteHalf) -> Result<TcpStream, ReuniteError> {
        if !Rc::ptr_eq(&self.0, &write.stream) {
            return Err(ReuniteError(self, write));
        }
        write.ends_on_drop = false;
        drop(write);
        Ok(Rc::try_unwrap(self.0).expect("two halves, and one is gone"))
    }
}

impl OwnedWriteHalf {
    /// The whole stream.
    pub fn stream(&self) -> &TcpStream {
        &self.stream
    }
}

impl Drop for OwnedWriteHalf {
    fn drop(&mut self) {
        if self.ends_on_drop {
            // It fails if the connection is gone, or if a write is under way, which goes before.
            let _ = self.stream.shutdown(Shutdown::Write);
        }
    }
}

/// Two halves that are not of the same stream.
#[derive(Debug)]
pub struct ReuniteError(pub OwnedReadHalf, pub OwnedWriteHalf);

impl fmt::Display for ReuniteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the two halves are not of the same stream")
    }
}

impl std::error::Error for ReuniteError {}
