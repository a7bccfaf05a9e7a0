//! The future of one operation: two integers and a handle. The operation itself is in
//! its slot.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use crate::completion::Completion;
use crate::lifecycle::table::Taken;
use crate::op::Op;
use crate::shared::Shared;
use crate::token::Token;

/// Resolves with the output of an operation that was submitted.
///
/// Dropping it does what [`Op::ON_DROP`] says. What the kernel lent stays where it is
/// until the last completion; what a late result owns is dropped then.
///
/// If the driver shut down and had to leak the operation, it never resolves.
#[must_use = "dropping it cancels the operation or lets it run unseen"]
pub struct OpFuture<O: Op> {
    inner: DetachedOp,
    op: PhantomData<O>,
}

impl<O: Op> OpFuture<O> {
    pub(crate) fn new(shared: Rc<Shared>, token: Token) -> Self {
        Self { inner: DetachedOp { shared, token: Some(token) }, op: PhantomData }
    }

    /// Asks the kernel to end the operation early; awaiting it says what became of it.
    ///
    /// A result that is already there is not lost: it may still be a success.
    pub fn request_cancel(&self) {
        if let Some(token) = self.inner.token {
            self.inner.shared.cancel(token);
        }
    }

    /// Lets the result be had before the memory is back; see [`EarlyOp`].
    ///
    /// # Cancellation
    /// Dropping what this returns does what [`Op::ON_DROP`] says, or nothing once the result is known: the memory
    /// stays lent until the notification.
    pub fn early(self) -> EarlyOp<O> {
        EarlyOp { future: self, told: false }
    }

    /// Forgets the type: what is left resolves with the completion alone, and drops the
    /// operation with its buffer then, or when the notification of a zero-copy send comes.
    ///
    /// # Cancellation
    /// Dropping what this returns does what [`Op::ON_DROP`] says.
    pub fn detach(self) -> DetachedOp {
        self.inner
    }
}

impl<O: Op> Unpin for OpFuture<O> {}

impl<O: Op> Future for OpFuture<O> {
    type Output = O::Output;

    #[inline]
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        let inner = &mut self.inner;
        let token = inner.token.expect("polled after it was ready");
        let (op, done) = ready!(inner.shared.take::<O>(token, cx));
        inner.token = None;
        Poll::Ready(op.finish(done))
    }
}

impl<O: Op> std::fmt::Debug for OpFuture<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpFuture({:?})", self.inner.token)
    }
}

/// An operation whose result is there before its memory is back: a zero-copy send.
///
/// As a future it resolves as [`OpFuture`] does, with the last completion; the result is to be had before. With
/// operations of other kinds both come at the same time.
#[must_use = "dropping it cancels the operation or lets it run unseen"]
pub struct EarlyOp<O: Op> {
    future: OpFuture<O>,
    /// The result has reached the one who waits.
    told: bool,
}

impl<O: Op> EarlyOp<O> {
    /// The result, as soon as it is known, any number of times.
    ///
    /// # Panics
    /// Once the future has resolved.
    pub fn poll_result(&mut self, cx: &mut Context<'_>) -> Poll<Completion> {
        let inner = &self.future.inner;
        let token = inner.token.expect("polled after it was ready");
        match inner.shared.look(token, cx) {
            Taken::Ready(done) => {
                self.told = true;
                Poll::Ready(done)
            }
            Taken::Pending | Taken::Register => Poll::Pending,
        }
    }

    /// As [`OpFuture::request_cancel`].
    pub fn request_cancel(&self) {
        self.future.request_cancel();
    }

    /// As [`OpFuture::detach`].
    ///
    /// # Cancellation
    /// As for [`OpFuture::detach`].
    pub fn detach(self) -> DetachedOp {
        let mut this = self;
        let shared = this.future.inner.shared.clone();
        DetachedOp { shared, token: this.future.inner.token.take() }
    }
}

impl<O: Op> Unpin for EarlyOp<O> {}

impl<O: Op> Future for EarlyOp<O> {
    type Output = O::Output;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<O::Output> {
        Pin::new(&mut self.future).poll(cx)
    }
}

impl<O: Op> Drop for EarlyOp<O> {
    fn drop(&mut self) {
        // One that was not told is dropped as a future that waits.
        if let Some(token) = self.future.inner.token.take_if(|_| self.told) {
            self.future.inner.shared.drop_told(token);
        }
    }
}

impl<O: Op> std::fmt::Debug for EarlyOp<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EarlyOp({:?})", self.future.inner.token)
    }
}

/// An operation of forgotten type that goes on. See [`OpFuture::detach`].
#[must_use = "dropping it cancels the operation or lets it run unseen"]
pub struct DetachedOp {
    shared: Rc<Shared>,
    token: Option<Token>,
}

impl Future for DetachedOp {
    type Output = Completion;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Completion> {
        let token = self.token.expect("polled after it was ready");
        match self.shared.take_detached(token, cx) {
            Taken::Ready((done, parting)) => {
                self.token = None;
                if let Some(parting) = parting {
                    self.shared.part(parting);
                }
                Poll::Ready(done)
            }
            Taken::Pending | Taken::Register => Poll::Pending,
        }
    }
}

impl Drop for DetachedOp {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.shared.drop_future(token);
        }
    }
}

impl std::fmt::Debug for DetachedOp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DetachedOp({:?})", self.token)
    }
}
