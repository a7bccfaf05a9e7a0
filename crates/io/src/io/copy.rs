//! Moving bytes from a source to a sink until the source ends.
//!
//! Between a read that brought bytes and the write that gets them there is no await, so a
//! dropped copy never holds bytes that neither side has.

use std::cell::Cell;
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::task::Poll;
use std::{fmt, io};

use futures_util::future::try_join;

use super::{AsyncRead, AsyncRecv, AsyncWrite};
use crate::buf::{IoBuf, IoBufExt};

/// Read at once by default: on a stream, larger ones gain nothing that can be measured.
const BUFFER_SIZE: usize = 64 * 1024;

/// Copies from `reader` to `writer` until the reader ends, flushes, and returns the number of
/// bytes.
///
/// It flushes, too, whenever it has to wait for the reader: a [`BufWriter`](super::BufWriter)
/// holds nothing back from a peer that waits for it.
///
/// # Cancellation
/// What was read was handed to the writer and is carried out, if the writer takes all of a
/// buffer in one write; of a short write the rest may be lost. The number of bytes is.
///
/// # Errors
/// The first one of either side.
///
/// # Examples
/// ```
/// # use coronet_io::io::{AsyncRead, AsyncWrite};
/// # async fn demo(source: impl AsyncRead, sink: impl AsyncWrite) -> std::io::Result<()> {
/// let count = coronet_io::io::copy(source, sink).await?;
/// println!("{count} bytes");
/// # Ok(()) }
/// ```
pub async fn copy(reader: impl AsyncRead, writer: impl AsyncWrite) -> io::Result<u64> {
    copy_with(reader, writer, BUFFER_SIZE).await
}

/// As [`copy`], with a buffer of `buffer_size` bytes.
///
/// # Cancellation
/// As for [`copy`].
///
/// # Errors
/// As for [`copy`].
///
/// # Panics
/// If `buffer_size` is zero.
pub async fn copy_with(
    reader: impl AsyncRead,
    writer: impl AsyncWrite,
    buffer_size: usize,
) -> io::Result<u64> {
    let copied = Cell::new(0);
    pump(reader, writer, buffer_size, &copied).await?;
    Ok(copied.get())
}

async fn pump(
    mut reader: impl AsyncRead,
    mut writer: impl AsyncWrite,
    buffer_size: usize,
    copied: &Cell<u64>,
) -> io::Result<()> {
    assert!(buffer_size > 0, "nothing can be copied without a buffer");
    let mut buf = Vec::with_capacity(buffer_size);
    let mut owes_flush = false;
    loop {
        let (result, slice) = {
            let mut read = pin!(reader.read(buf.slice(..buffer_size)));
            match poll_once(read.as_mut()).await {
                Poll::Ready(done) => done,
                Poll::Pending => {
                    if owes_flush {
                        writer.flush().await?;
                    }
                    read.await
                }
            }
        };
        buf = slice.into_inner();
        if result? == 0 {
            return writer.flush().await;
        }
        let count = buf.len() as u64;
        let (result, back) = writer.write_all(buf).await;
        result?;
        copied.set(copied.get() + count);
        owes_flush = true;
        buf = back;
        buf.clear();
    }
}

async fn poll_once<F: Future + Unpin>(mut future: F) -> Poll<F::Output> {
    poll_fn(|cx| Poll::Ready(std::pin::Pin::new(&mut future).poll(cx))).await
}

/// Sends on every chunk that `source` hands out, as it is, until it ends; flushes, and returns
/// the number of bytes. It copies nothing.
///
/// # Cancellation
/// As for [`copy`].
///
/// # Errors
/// The first one of either side.
pub async fn forward(mut source: impl AsyncRecv, mut writer: impl AsyncWrite) -> io::Result<u64> {
    let mut copied = 0;
    loop {
        let chunk = source.recv().await?;
        let count = chunk.as_bytes().len();
        if count == 0 {
            writer.flush().await?;
            return Ok(copied);
        }
        writer.write_all(chunk).await.0?;
        copied += count as u64;
    }
}

/// Why copying in both directions ended, and how far it had come.
///
/// `?` turns it into the [`io::Error`] where the counts do not matter.
#[derive(Debug)]
pub struct CopyError {
    /// Bytes that went from the first stream to the second.
    pub a_to_b: u64,
    /// Bytes that went from the second stream to the first.
    pub b_to_a: u64,
    /// The first error of either direction.
    pub error: io::Error,
}

impl fmt::Display for CopyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { a_to_b, b_to_a, .. } = self;
        write!(f, "the copy ended after {a_to_b} bytes there and {b_to_a} back")
    }
}

impl std::error::Error for CopyError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

impl From<CopyError> for io::Error {
    fn from(error: CopyError) -> Self {
        error.error
    }
}

/// Copies between two streams, both ways at once, until both have ended.
///
/// When one stream ends, that is said to the other, after all bytes; the way back goes on. An
/// error on either way ends both. Resolves with the bytes that went from `a` to `b`, and back.
///
/// Between two TCP streams, [`relay`](../net/fn.relay.html) does it without copying.
///
/// # Cancellation
/// As for [`copy`], each way. The streams are borrowed and can be used further.
///
/// # Errors
/// The first one of either way, with the bytes that had gone each way.
///
/// # Examples
/// ```
/// # use coronet_io::io::Duplex;
/// # async fn demo(client: Duplex, server: Duplex) -> std::io::Result<()> {
/// let (up, down) = coronet_io::io::copy_bidirectional(&client, &server).await?;
/// println!("{up} bytes up, {down} down");
/// # Ok(()) }
/// ```
pub async fn copy_bidirectional<'a, 'b, A, B>(a: &'a A, b: &'b B) -> Result<(u64, u64), CopyError>
where
    &'a A: AsyncRead + AsyncWrite,
    &'b B: AsyncRead + AsyncWrite,
{
    copy_halves((a, a), (b, b)).await
}

/// As [`copy_bidirectional`], for streams that come as a reader and a writer each.
///
/// # Cancellation
/// As for [`copy`], each way.
///
/// # Errors
/// As for [`copy_bidirectional`].
pub async fn copy_halves<AR, AW, BR, BW>(a: (AR, AW), b: (BR, BW)) -> Result<(u64, u64), CopyError>
where
    AR: AsyncRead,
    AW: AsyncWrite,
    BR: AsyncRead,
    BW: AsyncWrite,
{
    let (a_to_b, b_to_a) = (Cell::new(0), Cell::new(0));
    let there = pump_and_end(a.0, b.1, &a_to_b);
    let back = pump_and_end(b.0, a.1, &b_to_a);
    let result = try_join(there, back).await;
    let (a_to_b, b_to_a) = (a_to_b.get(), b_to_a.get());
    match result {
        Ok(_) => Ok((a_to_b, b_to_a)),
        Err(error) => Err(CopyError { a_to_b, b_to_a, error }),
    }
}

async fn pump_and_end(
    reader: impl AsyncRead,
    mut writer: impl AsyncWrite,
    copied: &Cell<u64>,
) -> io::Result<()> {
    pump(reader, &mut writer, BUFFER_SIZE, copied).await?;
    match writer.shutdown().await {
        // The peer is gone and needs to be told nothing; all bytes before were written.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        result => result,
    }
}
