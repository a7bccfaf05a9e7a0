//! A reader that reads ahead and owns what it has read.
//!
//! It promises that no call loses a byte when its future is dropped: bytes are gathered in
//! the reader, in the same poll in which the source hands them out, and leave it only in
//! the poll that completes the call. For that it never lends bytes to the source, only an
//! *empty* buffer; if that one goes down with a dropped read, the next read takes a fresh
//! one.
//!
//! The price: bytes that arrive in the middle of a line are copied once more, to those
//! before them.

use std::io;
use std::mem;

use futures_core::Stream;

use super::{AsyncBufRead, AsyncRead, EndedEarly, LineTooLong};
use crate::buf::{BufResult, IoBufExt, IoBufMut};

/// As much as one read asks for. A larger one gains little on a socket.
const CHUNK: usize = 8 * 1024;

/// The longest line by default: what servers commonly accept as a whole request head.
const LINE_MAX: usize = 64 * 1024;

/// A reader that reads ahead and owns what it has read.
///
/// # Examples
/// ```
/// # use coronet_io::io::{AsyncRead, BufReader};
/// # async fn demo(source: impl AsyncRead) -> std::io::Result<()> {
/// let mut reader = BufReader::new(source);
/// while let Some(line) = reader.next_line().await? {
///     println!("{line}");
/// }
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct BufReader<R> {
    inner: R,
    /// Bytes read; those before `start` are taken.
    bytes: Vec<u8>,
    start: usize,
    /// The empty buffer that the next read lends.
    room: Vec<u8>,
    chunk: usize,
    line_max: usize,
}

impl<R> BufReader<R> {
    /// Reads from `inner`, 8 KiB at a time.
    pub fn new(inner: R) -> Self {
        Self::with_capacity(CHUNK, inner)
    }

    /// Reads from `inner`, `capacity` bytes at a time.
    ///
    /// # Panics
    /// If `capacity` is zero.
    pub fn with_capacity(capacity: usize, inner: R) -> Self {
        assert!(capacity > 0, "a reader without room reads nothing");
        Self { inner, bytes: Vec::new(), start: 0, room: Vec::new(), chunk: capacity, line_max: LINE_MAX }
    }

    /// Sets the most bytes of one line, its end included; 64 KiB if never set.
    #[must_use]
    pub fn with_line_max(mut self, limit: usize) -> Self {
        self.line_max = limit;
        self
    }

    /// The bytes that were read ahead.
    pub fn buffer(&self) -> &[u8] {
        &self.bytes[self.start..]
    }

    /// The source below.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// The source below. Who reads from it skips the bytes that were read ahead.
    pub fn get_mut(&mut self) -> &mut R {
        &mut self.inner
    }

    /// Gives back the source, and the bytes that were read ahead.
    pub fn into_parts(mut self) -> (R, Vec<u8>) {
        self.bytes.drain(..self.start);
        (self.inner, self.bytes)
    }

    fn take(&mut self, count: usize) {
        assert!(count <= self.buffer().len(), "took {count} of {} bytes", self.buffer().len());
        self.start += count;
        if self.start == self.bytes.len() {
            self.start = 0;
            self.bytes.clear();
            // One long line must not hold its memory for the rest of the connection.
            if self.bytes.capacity() > 4 * self.chunk {
                self.bytes = Vec::new();
            }
        }
    }

    fn take_vec(&mut self, count: usize) -> Vec<u8> {
        let taken = self.buffer()[..count].to_vec();
        self.take(count);
        taken
    }

    /// Adds what a read brought, and keeps the emptied buffer for the next one.
    fn keep(&mut self, mut arrived: Vec<u8>) {
        if self.buffer().is_empty() {
            mem::swap(&mut self.bytes, &mut arrived);
            self.start = 0;
        } else {
            self.bytes.drain(..mem::take(&mut self.start));
            self.bytes.extend_from_slice(&arrived);
        }
        arrived.clear();
        self.room = arrived;
    }
}

impl<R: AsyncRead> BufReader<R> {
    /// Reads once and adds what came. Safe to drop: see the top of the file.
    async fn fetch(&mut self) -> io::Result<usize> {
        let mut room = mem::take(&mut self.room);
        room.reserve_exact(self.chunk);
        let (result, arrived) = self.inner.read(room.slice(..self.chunk)).await;
        let arrived = arrived.into_inner();
        // No await from here on: what arrived is kept in the poll that brought it.
        if let Ok(count) = result {
            assert_eq!(count, arrived.len(), "a read answered another number than it filled");
        }
        self.keep(arrived);
        result
    }

    /// The length of the next piece that ends with `byte`, or of all that is left if the
    /// input ends before.
    async fn find(&mut self, byte: u8, limit: usize) -> io::Result<usize> {
        let mut searched = 0;
        loop {
            let within = self.buffer().len().min(limit);
            let unseen = &self.buffer()[searched..within];
            if let Some(at) = unseen.iter().position(|&seen| seen == byte) {
                return Ok(searched + at + 1);
            }
            searched = within;
            if self.buffer().len() > limit {
                return Err(LineTooLong { limit }.into());
            }
            // With exactly `limit` bytes at hand, the end of the input may still follow.
            if self.fetch().await? == 0 {
                return Ok(self.buffer().len());
            }
        }
    }

    /// Reads up to and including the next `byte`, which must come within `limit` bytes.
    ///
    /// At the end of the input, what is left comes without it; then nothing.
    ///
    /// # Cancellation
    /// Safe. What was read stays in the reader until the call completes.
    ///
    /// # Errors
    /// `InvalidData`, with a [`LineTooLong`] inside, if there is no `byte` within `limit`
    /// bytes: they stay in the reader, which holds at most `limit` bytes and the capacity
    /// given to [`with_capacity`](Self::with_capacity). [`skip_until`](Self::skip_until)
    /// goes past them. And the errors of the source, after which nothing read before is lost.
    ///
    /// # Examples
    /// ```
    /// # use coronet_io::io::{AsyncRead, BufReader};
    /// # async fn demo(source: impl AsyncRead) -> std::io::Result<()> {
    /// let mut reader = BufReader::new(source);
    /// let field = reader.read_until(b';', 256).await?;
    /// if field.last() != Some(&b';') { /* the input has ended */ }
    /// # Ok(()) }
    /// ```
    pub async fn read_until(&mut self, byte: u8, limit: usize) -> io::Result<Vec<u8>> {
        let count = self.find(byte, limit).await?;
        Ok(self.take_vec(count))
    }

    /// Drops all bytes up to and including the next `byte`, however many, and returns their
    /// number.
    ///
    /// # Cancellation
    /// Safe to call again: bytes that were skipped stay skipped, and nothing behind `byte` is.
    ///
    /// # Errors
    /// Those of the source.
    pub async fn skip_until(&mut self, byte: u8) -> io::Result<u64> {
        let mut skipped = 0;
        loop {
            let found = self.buffer().iter().position(|&seen| seen == byte);
            let count = found.map_or(self.buffer().len(), |at| at + 1);
            self.take(count);
            skipped += count as u64;
            if found.is_some() || self.fetch().await? == 0 {
                return Ok(skipped);
            }
        }
    }

    /// Reads a line with its end; without one if the input ends before; empty at the end.
    ///
    /// # Cancellation
    /// Safe. What was read stays in the reader until the call completes.
    ///
    /// # Errors
    /// `InvalidData`, with a [`LineTooLong`] inside, if the line is longer than
    /// [`with_line_max`](Self::with_line_max) allows: as for [`read_until`](Self::read_until).
    /// `InvalidData`, with a [`FromUtf8Error`](std::string::FromUtf8Error) inside, if the line
    /// is not UTF-8: its `into_bytes` gives the line back, and the next call reads the next.
    /// And the errors of the source, after which nothing read before is lost.
    pub async fn read_line(&mut self) -> io::Result<String> {
        let line = self.read_until(b'\n', self.line_max).await?;
        String::from_utf8(line).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Reads a line without its end, which is `\n` or `\r\n`; `None` at the end of the input.
    ///
    /// # Cancellation
    /// Safe. What was read stays in the reader until the call completes.
    ///
    /// # Errors
    /// As for [`read_line`](Self::read_line).
    pub async fn next_line(&mut self) -> io::Result<Option<String>> {
        let mut line = self.read_line().await?;
        if line.is_empty() {
            return Ok(None);
        }
        if line.ends_with('\n') {
            line.pop();
            if line.ends_with('\r') {
                line.pop();
            }
        }
        Ok(Some(line))
    }

    /// The lines of the input, as [`next_line`](Self::next_line) reads them. The stream ends
    /// after the first error.
    ///
    /// Dropping the stream, in the middle of a line too, leaves what was read in the reader.
    ///
    /// # Examples
    /// ```
    /// # use std::pin::pin;
    /// # use coronet_io::io::{AsyncRead, BufReader};
    /// use futures_util::TryStreamExt;
    ///
    /// # async fn demo(source: impl AsyncRead) -> std::io::Result<()> {
    /// let mut reader = BufReader::new(source);
    /// let mut lines = pin!(reader.lines());
    /// while let Some(line) = lines.try_next().await? {
    ///     println!("{line}");
    /// }
    /// # Ok(()) }
    /// ```
    pub fn lines(&mut self) -> impl Stream<Item = io::Result<String>> {
        futures_util::stream::unfold(Some(self), |reader| async move {
            let reader = reader?;
            match reader.next_line().await {
                Ok(line) => line.map(|line| (Ok(line), Some(reader))),
                Err(error) => Some((Err(error), None)),
            }
        })
    }

    /// Reads ahead until at least `count` bytes are at hand, and shows all there are: fewer
    /// only if the input ends before.
    ///
    /// # Cancellation
    /// Safe. Nothing is taken before [`consume`](AsyncBufRead::consume).
    ///
    /// # Errors
    /// Those of the source, after which nothing read before is lost.
    pub async fn fill(&mut self, count: usize) -> io::Result<&[u8]> {
        while self.buffer().len() < count && self.fetch().await? > 0 {}
        Ok(self.buffer())
    }
}

impl<R: AsyncRead> AsyncRead for BufReader<R> {
    async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        let room = buf.spare().len();
        if room == 0 {
            return (Ok(0), buf);
        }
        if self.buffer().is_empty() {
            // Straight into a buffer that is as large as ours: no copy.
            if room >= self.chunk {
                return self.inner.read(buf).await;
            }
            if let Err(error) = self.fetch().await {
                return (Err(error), buf);
            }
        }
        let count = buf.put(self.buffer());
        self.take(count);
        (Ok(count), buf)
    }

    /// Reads until the room of `buf` is full.
    ///
    /// All bytes are gathered in the reader first, which costs a copy.
    ///
    /// # Cancellation
    /// Safe. What was read stays in the reader until the call completes; `buf` is dropped.
    ///
    /// # Errors
    /// `UnexpectedEof`, with an [`EndedEarly`] inside, if the input ends before; and those of
    /// the source. What was read stays in the reader, and the buffer is as it was.
    async fn read_exact<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<(), B> {
        let wanted = buf.spare().len();
        match self.fill(wanted).await {
            Ok(bytes) if bytes.len() < wanted => {
                let got = bytes.len();
                (Err(EndedEarly { got, wanted }.into()), buf)
            }
            Ok(_) => {
                let count = buf.put(self.buffer());
                assert_eq!(count, wanted, "the room of a buffer changed by itself");
                self.take(count);
                (Ok(()), buf)
            }
            Err(error) => (Err(error), buf),
        }
    }
}

impl<R: AsyncRead> AsyncBufRead for BufReader<R> {
    async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.fill(1).await
    }

    fn consume(&mut self, count: usize) {
        self.take(count);
    }
}
