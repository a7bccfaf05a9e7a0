//! The traits that streams implement.
//!
//! The calls that move *all* of a buffer are provided methods and not extensions, so that a
//! stream that can do them in one piece replaces them, and generic code profits from it.
//!
//! Streams whose methods take `&self` implement the traits for `&Stream` too; as the
//! standard library does for `&TcpStream`. Then a task may read while another writes.
#![allow(async_fn_in_trait, reason = "tasks of this runtime stay on their core, so no future has to be Send")]

use std::io;

use super::error::{EndedEarly, write_zero};
use crate::buf::{BufResult, IoBuf, IoBufExt, IoBufMut, IoVectoredBuf, Slice, Unsent};

/// A source of bytes.
pub trait AsyncRead {
    /// Reads what has arrived into the room of `buf`.
    ///
    /// Resolves with the number of bytes, and the buffer: see [`IoBufMut`] for where they
    /// are. Zero means that the input has ended, or `buf` had no room.
    ///
    /// # Cancellation
    /// Safe; every implementation promises it. Bytes that were not handed out stay with the
    /// source, and the next read gets them first. The buffer is dropped.
    ///
    /// # Errors
    /// Those of the source. The buffer comes back with every error.
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B>;

    /// Reads until the room of `buf` is full.
    ///
    /// # Cancellation
    /// As provided here **not safe**: bytes that earlier reads put into `buf` are dropped
    /// with it. [`BufReader`](super::BufReader) replaces it by one that loses nothing;
    /// other sources say what theirs does.
    ///
    /// # Errors
    /// `UnexpectedEof`, with an [`EndedEarly`] inside, if the input ends before; and those of
    /// the source. The bytes read before are in the buffer.
    async fn read_exact<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<(), B> {
        let wanted = buf.spare().len();
        let mut got = 0;
        while got < wanted {
            let rest = Slice::rest_of_room(buf, got, wanted - got);
            let (result, rest) = self.read(rest).await;
            buf = rest.into_inner();
            match result {
                Ok(0) => return (Err(EndedEarly { got, wanted }.into()), buf),
                Ok(count) => got += count,
                Err(error) => return (Err(error), buf),
            }
            assert!(got <= wanted, "a read answered more bytes than there was room for");
        }
        (Ok(()), buf)
    }
}

impl<R: AsyncRead> AsyncRead for &mut R {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        R::read(self, buf).await
    }

    async fn read_exact<B: IoBufMut>(&mut self, buf: B) -> BufResult<(), B> {
        R::read_exact(self, buf).await
    }
}

/// A source that holds bytes it has read, and shows them.
pub trait AsyncBufRead: AsyncRead {
    /// The bytes at hand; reads some if there are none. None at all at the end of the input.
    ///
    /// # Cancellation
    /// Safe. Nothing is taken before [`consume`](Self::consume).
    ///
    /// # Errors
    /// Those of the source.
    async fn fill_buf(&mut self) -> io::Result<&[u8]>;

    /// Takes the first `count` bytes away: the next call does not show them again.
    ///
    /// # Panics
    /// If there are fewer at hand.
    fn consume(&mut self, count: usize);
}

impl<R: AsyncBufRead> AsyncBufRead for &mut R {
    async fn fill_buf(&mut self) -> io::Result<&[u8]> {
        R::fill_buf(self).await
    }

    fn consume(&mut self, count: usize) {
        R::consume(self, count);
    }
}

/// A source that hands out what has arrived in buffers of its own choice: a read without a
/// copy.
pub trait AsyncRecv {
    /// What it hands out; it can be sent on as it is.
    type Chunk: IoBuf;

    /// Takes the next chunk. An empty one means that the input has ended.
    ///
    /// # Cancellation
    /// Safe; every implementation promises it. What was not handed out stays with the source.
    ///
    /// # Errors
    /// Those of the source.
    async fn recv(&mut self) -> io::Result<Self::Chunk>;
}

impl<R: AsyncRecv> AsyncRecv for &mut R {
    type Chunk = R::Chunk;

    async fn recv(&mut self) -> io::Result<R::Chunk> {
        R::recv(self).await
    }
}

/// A place that bytes go to.
pub trait AsyncWrite {
    /// Writes bytes of `buf`, from its first.
    ///
    /// Resolves with how many were taken, which may be fewer than there are, and the buffer.
    ///
    /// # Cancellation
    /// Safe; every implementation promises it. A write that was started goes on: all bytes of
    /// `buf` are sent, before those of any later write; or, if that fails, the next write,
    /// flush or shutdown fails, once. One that was never polled, or that still waited behind
    /// the write of an earlier dropped future, has sent nothing.
    ///
    /// # Errors
    /// Those of the sink. The buffer comes back with every error.
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B>;

    /// Writes bytes of all buffers, in order, as one message where the sink can.
    ///
    /// As provided here it copies the buffers into one first.
    ///
    /// # Cancellation
    /// As for [`write`](Self::write).
    ///
    /// # Errors
    /// Those of the sink. The buffers come back with every error.
    async fn write_vectored<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<usize, V> {
        let mut gathered = Vec::with_capacity(bufs.total_len());
        bufs.slices().for_each(|bytes| gathered.extend_from_slice(bytes));
        let (result, _) = self.write(gathered).await;
        (result, bufs)
    }

    /// Writes all bytes of `buf`.
    ///
    /// # Cancellation
    /// As provided here it sends what is left after a short write with another one: if it is
    /// dropped, the write under way is carried out as [`write`](Self::write) says, and
    /// nothing tells how far that was. A sink that takes all of a buffer in one write is safe.
    ///
    /// # Errors
    /// `WriteZero` if the sink takes no more; and those of the sink. The buffer comes back
    /// with every error; how much of it was sent is not known.
    async fn write_all<B: IoBuf>(&mut self, mut buf: B) -> BufResult<(), B> {
        let wanted = buf.as_bytes().len();
        let mut sent = 0;
        while sent < wanted {
            let (result, rest) = self.write(buf.slice(sent..)).await;
            buf = rest.into_inner();
            match result {
                Ok(0) => return (Err(write_zero()), buf),
                Ok(count) => sent += count,
                Err(error) => return (Err(error), buf),
            }
            assert!(sent <= wanted, "a write answered more bytes than it was given");
        }
        (Ok(()), buf)
    }

    /// Writes all bytes of all buffers, in order.
    ///
    /// # Cancellation
    /// As for [`write_all`](Self::write_all).
    ///
    /// # Errors
    /// As for [`write_all`](Self::write_all).
    async fn write_vectored_all<V: IoVectoredBuf>(&mut self, mut bufs: V) -> BufResult<(), V> {
        let wanted = bufs.total_len();
        let mut sent = 0;
        while sent < wanted {
            let (result, rest) = self.write_vectored(Unsent::new(bufs, sent)).await;
            bufs = rest.into_inner();
            match result {
                Ok(0) => return (Err(write_zero()), bufs),
                Ok(count) => sent += count,
                Err(error) => return (Err(error), bufs),
            }
            assert!(sent <= wanted, "a write answered more bytes than it was given");
        }
        (Ok(()), bufs)
    }

    /// Waits until the writes of dropped futures are over; the next write then starts at once.
    ///
    /// As provided here it returns at once: for sinks in which nothing goes on behind a dropped
    /// future.
    ///
    /// # Cancellation
    /// Safe.
    ///
    /// # Errors
    /// That of an earlier write whose future was dropped, once.
    async fn settle(&mut self) -> io::Result<()> {
        Ok(())
    }

    /// Waits until all that was written has left the buffers of this sink.
    ///
    /// # Cancellation
    /// Safe. What was written stays written; flush again to wait for it.
    ///
    /// # Errors
    /// Those of the sink, among them that of an earlier write whose future was dropped.
    async fn flush(&mut self) -> io::Result<()>;

    /// Says that no more bytes will follow, after all that was written. The other direction
    /// stays open.
    ///
    /// # Cancellation
    /// Safe. What was written stays written; whether the end was said is not known, and
    /// saying it again does no harm.
    ///
    /// # Errors
    /// Those of the sink, among them that of an earlier write whose future was dropped.
    async fn shutdown(&mut self) -> io::Result<()>;
}

impl<W: AsyncWrite> AsyncWrite for &mut W {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        W::write(self, buf).await
    }

    async fn write_vectored<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<usize, V> {
        W::write_vectored(self, bufs).await
    }

    async fn write_all<B: IoBuf>(&mut self, buf: B) -> BufResult<(), B> {
        W::write_all(self, buf).await
    }

    async fn write_vectored_all<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<(), V> {
        W::write_vectored_all(self, bufs).await
    }

    async fn settle(&mut self) -> io::Result<()> {
        W::settle(self).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        W::flush(self).await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        W::shutdown(self).await
    }
}
