//! The future of a send that lends its buffer to the network: a result first, the buffer later.

use std::fmt;
use std::future::{Future, poll_fn};
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use coronet_ring::EarlyOp;

use super::TcpStream;
use super::lending::{self, UnderWay};
use super::transmit::Write;
use crate::buf::{BufResult, IoBuf};
use crate::op::{self, Ticket, is_refusal};

/// The future of [`TcpStream::send_zc`].
///
/// It resolves with the result and the buffer, once the network is done with the buffer; [`Self::sent`] is the
/// result alone, at once.
#[must_use = "futures do nothing unless awaited"]
pub struct SendZc<'a, B: IoBuf> {
    stream: &'a TcpStream,
    step: Step<'a, B>,
}

enum Step<'a, B: IoBuf> {
    Before {
        buf: B,
        has_turn: bool,
    },
    /// It has the turn.
    Lending {
        send: EarlyOp<op::SendZc<B>>,
        len: usize,
        ticket: Rc<Ticket>,
    },
    /// It has the turn; the kernel would not lend, and the buffer is on its way back.
    Refused {
        send: EarlyOp<op::SendZc<B>>,
        len: usize,
        ticket: Rc<Ticket>,
    },
    /// The result was there, and the turn is somebody else's; the network has the buffer.
    Lent(EarlyOp<op::SendZc<B>>),
    /// As a write.
    Copying(Write<'a, B>),
    Back(io::Result<usize>, B),
    Done,
}

impl<'a, B: IoBuf> SendZc<'a, B> {
    pub(super) fn new(stream: &'a TcpStream, buf: B) -> Self {
        Self { stream, step: Step::Before { buf, has_turn: false } }
    }

    /// Waits for the result: as many bytes were sent. From here on the stream takes the next write.
    ///
    /// The network may still have the buffer: await the future itself to get it back.
    ///
    /// # Cancellation
    /// Safe. Nothing changes for the send; ask again.
    ///
    /// # Errors
    /// As for [`TcpStream::write`].
    ///
    /// # Panics
    /// After the future itself was awaited.
    pub async fn sent(&mut self) -> io::Result<usize> {
        poll_fn(|cx| self.poll_sent(cx)).await
    }

    fn poll_sent(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        loop {
            self.step = match &mut self.step {
                Step::Before { .. } => ready!(self.poll_start(cx)),
                Step::Lending { send, .. } => {
                    let done = ready!(send.poll_result(cx));
                    let step = std::mem::replace(&mut self.step, Step::Done);
                    let Step::Lending { send, len, ticket } = step else { unreachable!("looked at above") };
                    if is_refusal(&done) {
                        Step::Refused { send, len, ticket }
                    } else {
                        self.stream.writer.give_back();
                        Step::Lent(send)
                    }
                }
                Step::Refused { send, .. } => {
                    let sent = ready!(Pin::new(send).poll(cx));
                    let buf = sent.buf.expect("somebody waits for it");
                    Step::Copying(Write::with_turn(self.stream, buf))
                }
                Step::Lent(send) => {
                    let done = ready!(send.poll_result(cx));
                    return Poll::Ready(done.value().map(|count| count as usize));
                }
                Step::Copying(write) => {
                    let (result, buf) = ready!(Pin::new(write).poll(cx));
                    Step::Back(result, buf)
                }
                Step::Back(Ok(count), _) => return Poll::Ready(Ok(*count)),
                Step::Back(result, _) => {
                    let Err(error) = result else { unreachable!("looked at above") };
                    // The original goes to the first one who asks.
                    let copy = copy_of(error);
                    return Poll::Ready(Err(std::mem::replace(error, copy)));
                }
                Step::Done => panic!("polled after it was ready"),
            };
        }
    }

    /// Waits for the turn, and submits; the next step.
    fn poll_start(&mut self, cx: &mut Context<'_>) -> Poll<Step<'a, B>> {
        let stream = self.stream;
        let Step::Before { has_turn, .. } = &mut self.step else { unreachable!("looked at by the caller") };
        let may_send = ready!(stream.transmit.poll_turn(&stream.writer, has_turn, cx));
        let Step::Before { buf, has_turn } = std::mem::replace(&mut self.step, Step::Done) else {
            unreachable!("looked at above")
        };
        let len = buf.as_bytes().len();
        if may_send.is_err() || len == 0 {
            if has_turn {
                stream.writer.give_back();
            }
            return Poll::Ready(Step::Back(may_send.map(|()| 0), buf));
        }
        if !stream.socket.context.lends() {
            return Poll::Ready(Step::Copying(Write::with_turn(stream, buf)));
        }
        let (send, ticket) = lending::lend(stream, buf, 0);
        let len = len.min(coronet_ring::span::SPAN_LEN_MAX);
        Poll::Ready(Step::Lending { send, len, ticket })
    }
}

/// The same to read; what it holds inside is the original's.
fn copy_of(error: &io::Error) -> io::Error {
    match error.raw_os_error() {
        Some(errno) => io::Error::from_raw_os_error(errno),
        None => io::Error::new(error.kind(), error.to_string()),
    }
}

// Nothing in it is pinned: the operation stands in its slot.
impl<B: IoBuf> Unpin for SendZc<'_, B> {}

impl<B: IoBuf> Future for SendZc<'_, B> {
    type Output = BufResult<usize, B>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.get_mut();
        if !matches!(this.step, Step::Lent(_) | Step::Back(..) | Step::Done) {
            // The result is asked for again below: here it only has to be there.
            let sent = ready!(this.poll_sent(cx));
            if let (Step::Back(result, _), Err(original)) = (&mut this.step, sent) {
                *result = Err(original);
            }
        }
        if let Step::Lent(send) = &mut this.step {
            let sent = ready!(Pin::new(send).poll(cx));
            this.step = Step::Done;
            return Poll::Ready((sent.result, sent.buf.expect("somebody waits for it")));
        }
        let Step::Back(result, buf) = std::mem::replace(&mut this.step, Step::Done) else {
            panic!("polled after it was ready")
        };
        Poll::Ready((result, buf))
    }
}

impl<B: IoBuf> Drop for SendZc<'_, B> {
    fn drop(&mut self) {
        match std::mem::replace(&mut self.step, Step::Done) {
            Step::Before { has_turn: false, .. } | Step::Lent(_) | Step::Back(..) | Step::Done => {}
            // A write goes on by itself.
            Step::Copying(_) => {}
            Step::Before { has_turn: true, .. } => self.stream.writer.give_back(),
            Step::Lending { send, len, ticket } => {
                let send = UnderWay::lent(send.detach(), len, ticket);
                self.stream.transmit.go_on(&self.stream.socket, send);
                self.stream.writer.give_back();
            }
            Step::Refused { send, len, ticket } => {
                self.stream.transmit.go_on(&self.stream.socket, UnderWay::refused(len, ticket));
                drop(send);
                self.stream.writer.give_back();
            }
        }
    }
}

impl<B: IoBuf> fmt::Debug for SendZc<'_, B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SendZc").field("lent", &matches!(self.step, Step::Lent(_))).finish_non_exhaustive()
    }
}
