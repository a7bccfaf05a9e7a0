//! A pair of connected streams in memory, for tests.
//!
//! It behaves as a socket of this runtime does: bounded, half-closed by `shutdown`, closed by
//! drop, one reader and one writer at a time; a dropped read takes nothing and a write that
//! was polled is carried out. It is for one core and knows no executor.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::poll_fn;
use std::io;
use std::mem;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::{AsyncRead, AsyncRecv, AsyncWrite};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoVectoredBuf};

/// Makes two streams: what is written to one is read from the other.
///
/// A write completes once all its bytes but the last `capacity` were read.
///
/// # Examples
/// ```
/// # use coronet_io::io::{AsyncRead, AsyncWrite, duplex};
/// # async fn demo() -> std::io::Result<()> {
/// let (mut here, mut there) = duplex(64);
/// here.write_all("ping").await.0?;
/// let (result, bytes) = there.read_exact([0; 4]).await;
/// result?;
/// assert_eq!(&bytes, b"ping");
/// # Ok(()) }
/// ```
///
/// # Panics
/// If `capacity` is zero.
pub fn duplex(capacity: usize) -> (Duplex, Duplex) {
    assert!(capacity > 0, "nothing passes through a pipe without room");
    let there = Rc::new(Pipe::new(capacity));
    let back = Rc::new(Pipe::new(capacity));
    let one = Duplex { input: Rc::clone(&back), output: Rc::clone(&there) };
    let other = Duplex { input: there, output: back };
    (one, other)
}

/// One of two connected streams in memory; made by [`duplex()`].
///
/// Dropping it ends the input of the other one, after all that was written, and breaks the
/// writes of the other one.
#[derive(Debug)]
pub struct Duplex {
    input: Rc<Pipe>,
    output: Rc<Pipe>,
}

/// One direction.
#[derive(Debug)]
struct Pipe {
    state: RefCell<State>,
}

#[derive(Debug)]
struct State {
    /// Written and not read. All of a write goes in at its first poll, so that it is carried
    /// out whatever happens to its future; `capacity` only decides when it completes.
    bytes: VecDeque<u8>,
    capacity: usize,
    /// Bytes ever written, and ever read: a write waits for its own last byte.
    written: u64,
    read: u64,
    /// No more bytes will be written.
    has_ended: bool,
    /// Nobody will read any more.
    is_broken: bool,
    reader: Side,
    writer: Side,
    /// To wake once the state is not borrowed any more: a waker may run what borrows it.
    due: Vec<Waker>,
}

/// Who waits on one side: at most one.
#[derive(Debug, Default)]
struct Side {
    is_taken: bool,
    waker: Option<Waker>,
}

impl Pipe {
    fn new(capacity: usize) -> Self {
        let state = State {
            bytes: VecDeque::new(),
            capacity,
            written: 0,
            read: 0,
            has_ended: false,
            is_broken: false,
            reader: Side::default(),
            writer: Side::default(),
            due: Vec::new(),
        };
        Self { state: RefCell::new(state) }
    }

    fn change<T>(&self, step: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.borrow_mut();
        let result = step(&mut state);
        let due = mem::take(&mut state.due);
        drop(state);
        due.into_iter().for_each(Waker::wake);
        result
    }
}

impl State {
    fn push(&mut self, bytes: &[u8]) -> io::Result<()> {
        if self.has_ended || self.is_broken {
            return Err(io::ErrorKind::BrokenPipe.into());
        }
        self.bytes.extend(bytes);
        self.written += bytes.len() as u64;
        self.due.extend(self.reader.waker.take());
        Ok(())
    }

    fn end(&mut self) {
        self.has_ended = true;
        self.due.extend(self.reader.waker.take());
    }

    fn break_off(&mut self) {
        self.is_broken = true;
        self.due.extend(self.writer.waker.take());
    }

    fn poll_readable(&mut self, cx: &Context<'_>) -> Poll<()> {
        if self.bytes.is_empty() && !self.has_ended {
            self.due.extend(self.reader.wait(cx));
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn pull(&mut self, buf: &mut impl IoBufMut) -> usize {
        // What is behind the capacity could not have arrived yet.
        let (front, _) = self.bytes.as_slices();
        let count = buf.put(&front[..front.len().min(self.capacity)]);
        self.bytes.drain(..count);
        self.read += count as u64;
        self.due.extend(self.writer.waker.take());
        count
    }

    /// Ready once the byte at `position` and all before it are within the capacity.
    fn poll_written(&mut self, cx: &Context<'_>, position: u64) -> Poll<io::Result<()>> {
        if position <= self.read + self.capacity as u64 {
            return Poll::Ready(Ok(()));
        }
        if self.is_broken {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.due.extend(self.writer.wait(cx));
        Poll::Pending
    }
}

impl Side {
    /// Keeps the waker; returns the one it replaces, if that belongs to another task.
    fn wait(&mut self, cx: &Context<'_>) -> Option<Waker> {
        if matches!(&self.waker, Some(waker) if waker.will_wake(cx.waker())) {
            return None;
        }
        self.waker.replace(cx.waker().clone())
    }
}

/// The turn of a reader or a writer; given back when its future ends or is dropped.
struct Turn<'a> {
    pipe: &'a Pipe,
    side: fn(&mut State) -> &mut Side,
}

impl<'a> Turn<'a> {
    fn take(pipe: &'a Pipe, side: fn(&mut State) -> &mut Side) -> io::Result<Self> {
        if pipe.change(|state| mem::replace(&mut side(state).is_taken, true)) {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        Ok(Self { pipe, side })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        // Dropped outside `change`: the last waker of a task may drop the task.
        let left = self.pipe.change(|state| mem::take((self.side)(state)));
        drop(left);
    }
}

impl Duplex {
    async fn readable(&self) -> io::Result<()> {
        let turn = Turn::take(&self.input, |state| &mut state.reader)?;
        poll_fn(|cx| turn.pipe.change(|state| state.poll_readable(cx))).await;
        Ok(())
    }

    async fn write_slices<'s>(&self, slices: impl Iterator<Item = &'s [u8]>) -> io::Result<usize> {
        let turn = Turn::take(&self.output, |state| &mut state.writer)?;
        let mut count = 0;
        for bytes in slices {
            self.output.change(|state| state.push(bytes))?;
            count += bytes.len();
        }
        written(&turn).await?;
        Ok(count)
    }

    async fn flush_output(&self) -> io::Result<()> {
        let turn = Turn::take(&self.output, |state| &mut state.writer)?;
        written(&turn).await
    }
}

/// Waits for all that was written before, by writes whose futures were dropped too.
async fn written(turn: &Turn<'_>) -> io::Result<()> {
    let position = turn.pipe.change(|state| state.written);
    poll_fn(|cx| turn.pipe.change(|state| state.poll_written(cx, position))).await
}

impl Drop for Duplex {
    fn drop(&mut self) {
        self.output.change(State::end);
        self.input.change(State::break_off);
    }
}

impl AsyncRead for &Duplex {
    async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        if buf.spare().is_empty() {
            return (Ok(0), buf);
        }
        match self.readable().await {
            Ok(()) => (Ok(self.input.change(|state| state.pull(&mut buf))), buf),
            Err(error) => (Err(error), buf),
        }
    }
}

impl AsyncRecv for &Duplex {
    type Chunk = Vec<u8>;

    async fn recv(&mut self) -> io::Result<Vec<u8>> {
        self.readable().await?;
        self.input.change(|state| {
            let mut chunk = Vec::with_capacity(state.bytes.len());
            state.pull(&mut chunk);
            Ok(chunk)
        })
    }
}

impl AsyncWrite for &Duplex {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let result = self.write_slices(std::iter::once(buf.as_bytes())).await;
        (result, buf)
    }

    async fn write_vectored<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<usize, V> {
        let result = self.write_slices(bufs.slices()).await;
        (result, bufs)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.flush_output().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.output.change(State::end);
        Ok(())
    }
}

impl AsyncRead for Duplex {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        (&*self).read(buf).await
    }
}

impl AsyncRecv for Duplex {
    type Chunk = Vec<u8>;

    async fn recv(&mut self) -> io::Result<Vec<u8>> {
        (&*self).recv().await
    }
}

impl AsyncWrite for Duplex {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        (&*self).write(buf).await
    }

    async fn write_vectored<V: IoVectoredBuf>(&mut self, bufs: V) -> BufResult<usize, V> {
        (&*self).write_vectored(bufs).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        (&*self).flush().await
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        (&*self).shutdown().await
    }
}
