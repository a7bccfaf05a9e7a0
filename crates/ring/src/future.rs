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

    /// Forgets the type: what is left resolves with the completion alone, and drops the
    /// operation with its buffer then.
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
                self.shared.part(parting);
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
