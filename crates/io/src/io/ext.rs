//! What every source and every sink can do.
#![allow(async_fn_in_trait, reason = "tasks of this runtime stay on their core, so no future has to be Send")]

use std::io;

use super::{AsyncRead, AsyncWrite, BufReader, BufWriter, Chain, InputTooLong, Take};
use crate::buf::{BufResult, IoBufExt};

/// The least room worth a read, once a buffer has to be made larger.
const GROWTH_MIN: usize = 4096;

/// What every source can do.
pub trait AsyncReadExt: AsyncRead + Sized {
    /// Reads `N` bytes.
    ///
    /// # Cancellation
    /// As for [`read_exact`](AsyncRead::read_exact) of the source.
    ///
    /// # Errors
    /// As for [`read_exact`](AsyncRead::read_exact).
    ///
    /// # Examples
    /// ```
    /// # use coronet_io::io::{AsyncRead, AsyncReadExt};
    /// # async fn demo(mut source: impl AsyncRead) -> std::io::Result<()> {
    /// let length = u32::from_be_bytes(source.read_array().await?);
    /// # Ok(()) }
    /// ```
    async fn read_array<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let (result, bytes) = self.read_exact([0; N]).await;
        result.map(|()| bytes)
    }

    /// Reads to the end of the input, behind the bytes that `buf` holds; makes it larger as
    /// needed, without a limit. For input that you do not trust, use
    /// [`read_to_end_limited`](Self::read_to_end_limited).
    ///
    /// Resolves with the number of bytes that were read.
    ///
    /// # Cancellation
    /// **Not safe**: what was read so far is dropped with the buffer.
    ///
    /// # Errors
    /// Those of the source. The buffer comes back with what was read before.
    async fn read_to_end(&mut self, buf: Vec<u8>) -> BufResult<usize, Vec<u8>> {
        self.read_to_end_limited(buf, usize::MAX).await
    }

    /// Reads to the end of the input, which must come within `limit` bytes.
    ///
    /// Resolves with the number of bytes that were read.
    ///
    /// # Cancellation
    /// **Not safe**: what was read so far is dropped with the buffer.
    ///
    /// # Errors
    /// `InvalidData`, with an [`InputTooLong`] inside, if the input is longer: the buffer then
    /// has gained one byte more than `limit`, all that was taken from the source. And those
    /// of the source.
    async fn read_to_end_limited(&mut self, mut buf: Vec<u8>, limit: usize) -> BufResult<usize, Vec<u8>> {
        let before = buf.len();
        // One byte more, as only that tells an input of `limit` bytes from a longer one.
        let most = before.saturating_add(limit).saturating_add(1);
        loop {
            if buf.len() == buf.capacity() {
                let growth = GROWTH_MIN.max(buf.len()).min(most - buf.len());
                buf.reserve(growth);
            }
            let end = most.min(buf.capacity());
            let (result, window) = self.read(buf.slice(..end)).await;
            buf = window.into_inner();
            match result {
                Ok(0) => return (Ok(buf.len() - before), buf),
                Ok(_) if buf.len() == most => {
                    return (Err(InputTooLong { limit }.into()), buf);
                }
                Ok(_) => {}
                Err(error) => return (Err(error), buf),
            }
        }
    }

    /// The first `limit` bytes, as a source that ends there.
    fn take(self, limit: u64) -> Take<Self> {
        Take::new(self, limit)
    }

    /// Goes on with `next` where this source ends.
    fn chain<R: AsyncRead>(self, next: R) -> Chain<Self, R> {
        Chain::new(self, next)
    }

    /// Reads ahead, so that small reads and lines are cheap.
    fn buffered(self) -> BufReader<Self> {
        BufReader::new(self)
    }
}

impl<R: AsyncRead> AsyncReadExt for R {}

/// What every sink can do.
pub trait AsyncWriteExt: AsyncWrite + Sized {
    /// Gathers small writes into larger ones.
    fn write_buffered(self) -> BufWriter<Self> {
        BufWriter::new(self)
    }
}

impl<W: AsyncWrite> AsyncWriteExt for W {}
