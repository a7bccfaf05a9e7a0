//! A writer that gathers small writes into larger ones.
//!
//! It promises that bytes it has accepted are never dropped with a future: at any time they
//! are either here, or lent to a write of the sink below, which was polled and so is carried
//! out (see [`AsyncWrite::write`]). Between the two there is no await.
//!
//! It cannot write when it is dropped itself: flush it, or shut it down.

use std::io;
use std::mem;

use super::AsyncWrite;
use super::error::write_zero;
use crate::buf::{BufResult, IoBuf, IoBufExt, IoVectoredBuf};

/// Gathered by default before a write; as much as [`BufReader`](super::BufReader) reads.
const CAPACITY: usize = 8 * 1024;

/// A writer that gathers small writes into larger ones.
///
/// A write that does not fit into the buffer any more sends what was gathered first; one larger
/// than the buffer goes straight to the sink.
///
/// Dropping the writer drops what was not [flushed](AsyncWrite::flush).
///
/// # Examples
/// ```
/// # use coronet_io::io::{AsyncWrite, BufWriter};
/// # async fn demo(sink: impl AsyncWrite) -> std::io::Result<()> {
/// let mut writer = BufWriter::new(sink);
/// for n in 0..1000 {
///     writer.write_all(format!("{n}\n")).await.0?;
/// }
/// writer.flush().await?;
/// # Ok(()) }
/// ```
#[derive(Debug)]
pub struct BufWriter<W> {
    inner: W,
    /// Bytes accepted; those before `sent` are written. Empty while lent.
    bytes: Vec<u8>,
    sent: usize,
    capacity: usize,
}

impl<W> BufWriter<W> {
    /// Writes to `inner`, 8 KiB at a time.
    pub fn new(inner: W) -> Self {
        Self::with_capacity(CAPACITY, inner)
    }

    /// Writes to `inner`, about `capacity` bytes at a time.
    pub fn with_capacity(capacity: usize, inner: W) -> Self {
        Self { inner, bytes: Vec::new(), sent: 0, capacity }
    }

    /// The bytes accepted that were not handed to the sink yet.
    pub fn buffer(&self) -> &[u8] {
        &self.bytes[self.sent..]
    }

    /// The sink below.
    pub fn get_ref(&self) -> &W {
        &self.inner
    }

    /// The sink below. What is written to it directly overtakes what is gathered here.
    pub fn get_mut(&mut self) -> &mut W {
        &mut self.inner
    }

    /// Gives back the sink, and the bytes that were not handed to it.
    pub fn into_parts(mut self) -> (W, Vec<u8>) {
        self.bytes.drain(..self.sent);
        (self.inner, self.bytes)
    }

    fn fits(&self, count: usize) -> bool {
        count <= self.capacity - self.buffer().len().min(self.capacity)
    }

    fn append(&mut self, bytes: &[u8]) {
        self.bytes.drain(..mem::take(&mut self.sent));
        if self.bytes.capacity() == 0 {
            self.bytes.reserve_exact(self.capacity);
        }
        self.bytes.extend_from_slice(bytes);
    }
}

impl<W: AsyncWrite> BufWriter<W> {
    /// Hands all that is gathered to the sink.
    async fn send(&mut self) -> io::Result<()> {
        while !self.buffer().is_empty() {
            // A write of a dropped future may still be under way. Ours would wait behind it, and
            // a write that waits is not carried out if it is dropped: so wait before lending.
            self.inner.settle().await?;
            let lent = mem::take(&mut self.bytes).slice(mem::take(&mut self.sent)..);
            let (result, lent) = self.inner.write(lent).await;
            // No await until what is left is here again, or lent again.
            self.sent = lent.start();
            self.bytes = lent.into_inner();
            match result? {
                0 => return Err(write_zero()),
                count => self.sent += count,
            }
            assert!(self.sent <= self.bytes.len(), "a write answered more bytes than it was given");
        }
        self.bytes.clear();
        self.sent = 0;
        Ok(())
    }

    /// Flushes, and gives the sink back.
    ///
    /// # Cancellation
    /// Drops the writer: bytes not yet handed to the sink are lost, the sink too. To be able
    /// to stop waiting, call [`flush`](AsyncWrite::flush), then
    /// [`into_parts`](Self::into_parts).
    ///
    /// # Errors
    /// Those of the sink. The writer comes back with every error.
    pub async fn into_inner(mut self) -> Result<W, (io::Error, Self)> {
        match self.flush().await {
            Ok(()) => Ok(self.inner),
            Err(error) => Err((error, self)),
        }
    }
}

impl<W: AsyncWrite> AsyncWrite for BufWriter<W> {
    async fn settle(&mut self) -> io::Result<()> {
        self.inner.settle().await
    }

    /// Accepts all bytes of `buf`; or writes some, if they are more than the buffer ever holds.
    ///
    /// # Cancellation
    /// Nothing accepted before is lost. If the future is dropped, either nothing of `buf` was
    /// accepted, as what was gathered before is still under way; or it was large and the sink
    /// carries its write out. [`buffer`](Self::buffer) does not tell the two apart: to know,
    /// flush before a write that may be dropped.
    ///
    /// # Errors
    /// Those of the sink, about bytes accepted before; nothing of `buf` is accepted then.
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let count = buf.as_bytes().len();
        if !self.fits(count)
            && let Err(error) = self.send().await
        {
            return (Err(error), buf);
        }
        if self.fits(count) {
            self.append(buf.as_bytes());
            return (Ok(count), buf);
        }
        self.inner.write(buf).await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        let count = buf.as_bytes().len();
        if !self.fits(count)
            && let Err(error) = self.send().await
        {
            return (Err(error), buf);
        }
        if self.fits(count) {
            self.append(buf.as_bytes());
            return (Ok(()), buf);
        }
        self.inner.write_all(buf).await
    }

    async fn write_vectored<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<usize, V> {
        let count = bufs.total_len();
        if !self.fits(count)
            && let Err(error) = self.send().await
        {
            return (Err(error), bufs);
        }
        if self.fits(count) {
            bufs.slices().for_each(|bytes| self.append(bytes));
            return (Ok(count), bufs);
        }
        self.inner.write_vectored(bufs).await
    }

    /// Hands all that is gathered to the sink, and flushes that.
    ///
    /// # Cancellation
    /// Safe. What was accepted is either still here or carried out by the sink; flush again.
    ///
    /// # Errors
    /// Those of the sink. What was not handed to it stays here.
    async fn flush(&mut self) -> io::Result<()> {
        self.send().await?;
        self.inner.flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.flush().await?;
        self.inner.shutdown().await
    }
}
