//! The stream of a multishot: an item per completion, until the last.

use std::marker::PhantomData;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::completion::Done;
use crate::lifecycle::parting::Parting;
use crate::lifecycle::table::Taken;
use crate::op::MultiOp;
use crate::shared::Shared;
use crate::token::Token;

/// Items of a multishot operation. Ends after the last completion; submit it again to go on.
///
/// Dropping it asks the kernel to end the operation. Items that nobody took, and
/// those that still come, are dropped: each owns what it stands for.
pub struct OpStream<O: MultiOp> {
    shared: Rc<Shared>,
    token: Option<Token>,
    op: PhantomData<O>,
}

impl<O: MultiOp> OpStream<O> {
    pub(crate) fn new(shared: Rc<Shared>, token: Token) -> Self {
        Self { shared, token: Some(token), op: PhantomData }
    }

    /// Asks the kernel to end the operation. Items go on coming until it did.
    pub fn request_cancel(&self) {
        if let Some(token) = self.token {
            self.shared.cancel(token);
        }
    }

    /// The next item, or `None` after the last.
    pub fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<O::Item>> {
        let Some(token) = self.token else { return Poll::Ready(None) };
        let taken = self.shared.take_item::<O>(token, cx);
        self.unpack(taken)
    }

    /// The next completion, or `None` after the last, for callers that know what the operation knows.
    ///
    /// The operation has often left the cache by then; this does not touch it. Whoever drops the
    /// completion instead of turning it into an item loses what it stands for.
    pub fn poll_done(&mut self, cx: &mut Context<'_>) -> Poll<Option<Done<O>>> {
        let Some(token) = self.token else { return Poll::Ready(None) };
        let taken = self.shared.take_done::<O>(token, cx);
        self.unpack(taken)
    }

    fn unpack<T>(&mut self, taken: Taken<Result<T, Parting>>) -> Poll<Option<T>> {
        match taken {
            Taken::Ready(Ok(item)) => Poll::Ready(Some(item)),
            Taken::Ready(Err(parting)) => {
                self.token = None;
                self.shared.part(parting);
                Poll::Ready(None)
            }
            Taken::Pending | Taken::Register => Poll::Pending,
        }
    }
}

impl<O: MultiOp> Unpin for OpStream<O> {}

impl<O: MultiOp> Stream for OpStream<O> {
    type Item = O::Item;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<O::Item>> {
        self.poll_item(cx)
    }
}

impl<O: MultiOp> Drop for OpStream<O> {
    fn drop(&mut self) {
        if let Some(token) = self.token {
            self.shared.drop_future(token);
        }
    }
}

impl<O: MultiOp> std::fmt::Debug for OpStream<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "OpStream({:?})", self.token)
    }
}
