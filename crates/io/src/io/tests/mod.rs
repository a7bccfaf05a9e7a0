//! Tests of the owned-buffer traits and what stands on them, without a kernel.
//!
//! Here is what they share: a way to run a future that notices a lost wake, and a source and
//! a sink that do what a script says.

mod buf_reader;
mod buf_writer;
mod copy;
mod duplex;
mod generic;

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use super::{AsyncRead, AsyncWrite};
use crate::buf::{BufResult, IoBuf, IoBufMut};

struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Runs `future` to its end. Panics if it waits for a wake that nobody can send any more.
fn block_on<F: Future>(future: F) -> F::Output {
    let flag = Arc::new(Flag(AtomicBool::new(true)));
    let waker = Waker::from(Arc::clone(&flag));
    let mut future = pin!(future);
    while flag.0.swap(false, Ordering::Relaxed) {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return output;
        }
    }
    panic!("the future waits and nobody woke it");
}

/// Polls `future` once, and drops it if it is not ready.
fn poll_and_drop<F: Future>(future: F) -> Option<F::Output> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// Polls a call until it is ready. Bit `n` of `drops` says whether its future is dropped, and
/// the call made anew, after it was not ready for the `n`-th time.
macro_rules! call {
    ($drops:expr, $call:expr) => {{
        let mut waits = 0;
        'anew: loop {
            let mut future = std::pin::pin!($call);
            loop {
                let waker = std::task::Waker::noop();
                let mut cx = std::task::Context::from_waker(waker);
                match std::future::Future::poll(future.as_mut(), &mut cx) {
                    std::task::Poll::Ready(output) => break 'anew output,
                    std::task::Poll::Pending => waits += 1,
                }
                assert!(waits < 100, "the call makes no progress");
                if $drops & (1u32 << ((waits - 1) % 32)) != 0 {
                    continue 'anew;
                }
            }
        }
    }};
}
use call;

/// Not ready once.
async fn pause() {
    let mut paused = false;
    poll_fn(|cx| {
        if std::mem::replace(&mut paused, true) {
            return Poll::Ready(());
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// What a scripted source does next; then its input ends.
#[derive(Debug, Clone, Copy)]
enum Step {
    Bytes(&'static [u8]),
    Wait,
    Fail(io::ErrorKind),
}

/// A source that does what a script says. It keeps the promise of [`AsyncRead::read`]: bytes
/// leave the script in the poll that hands them out.
#[derive(Debug)]
struct Source {
    script: VecDeque<Step>,
}

impl Source {
    fn new(script: impl IntoIterator<Item = Step>) -> Self {
        let script = script.into_iter().collect();
        Self { script }
    }

    /// One byte at a time, with a wait before each and before the end.
    fn slow(bytes: &'static [u8]) -> Self {
        let steps = bytes.chunks(1).flat_map(|byte| [Step::Wait, Step::Bytes(byte)]);
        Self::new(steps.chain([Step::Wait]))
    }
}

impl AsyncRead for Source {
    async fn read<B: IoBufMut>(&mut self, mut buf: B) -> BufResult<usize, B> {
        loop {
            match self.script.pop_front() {
                None => return (Ok(0), buf),
                Some(Step::Wait) => pause().await,
                Some(Step::Fail(kind)) => return (Err(kind.into()), buf),
                Some(Step::Bytes(bytes)) => {
                    let count = buf.put(bytes);
                    if count < bytes.len() {
                        self.script.push_front(Step::Bytes(&bytes[count..]));
                    }
                    return (Ok(count), buf);
                }
            }
        }
    }
}

/// A sink that takes at most `most` bytes at once, and fails once after `fails_after` bytes.
#[derive(Debug)]
struct Sink {
    taken: Vec<u8>,
    most: usize,
    fails_after: Option<usize>,
    flushes: usize,
    has_ended: bool,
}

impl Sink {
    fn new(most: usize) -> Self {
        Self { taken: Vec::new(), most, fails_after: None, flushes: 0, has_ended: false }
    }
}

impl AsyncWrite for Sink {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        let mut count = buf.as_bytes().len().min(self.most);
        if let Some(limit) = self.fails_after {
            count = count.min(limit - self.taken.len());
            if count == 0 {
                self.fails_after = None;
                return (Err(io::ErrorKind::ConnectionReset.into()), buf);
            }
        }
        self.taken.extend_from_slice(&buf.as_bytes()[..count]);
        (Ok(count), buf)
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.flushes += 1;
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        self.has_ended = true;
        Ok(())
    }
}

fn kind<T>(result: io::Result<T>) -> Option<io::ErrorKind> {
    result.err().map(|error| error.kind())
}

fn inside<E: std::error::Error + Copy + 'static>(error: &io::Error) -> E {
    let inner = error.get_ref().expect("there is an error inside");
    *inner.downcast_ref::<E>().expect("it has the type")
}
