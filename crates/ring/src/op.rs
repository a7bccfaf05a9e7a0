//! The operation: one struct that owns all that it lends to the kernel.

use std::io;

use crate::completion::Done;
use crate::fd::SharedFd;
use crate::request::Request;

/// What dropping the future of a submitted operation does to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDrop {
    /// Ask the kernel to end it. What it produced all the same is disposed of.
    Cancel,
    /// Let it run to its end: cutting it short would lose or tear something. One that the kernel does not have
    /// yet, because the submission queue is full, is sent when there is room.
    LetRun,
}

/// An operation with one result.
///
/// The struct *is* the loan: it owns buffer, descriptor and address. The driver
/// moves it into a slot that stays where it is until the last completion, and only
/// then asks for the request. So implementing it takes no `unsafe`.
pub trait Op: Sized + 'static {
    /// What the caller awaits. Whatever the kernel produced must be owned by it:
    /// a late result is disposed of by dropping this value.
    type Output;

    /// What happens when the future is dropped in flight.
    const ON_DROP: OnDrop = OnDrop::Cancel;

    /// Describes the work. Called when the operation stands at its final address;
    /// called again only if the kernel could not take it yet. [`Handle::send`](crate::Handle::send) asks
    /// before, too, where the operation stands by then.
    ///
    /// The driver is busy meanwhile: using a [`Handle`](crate::Handle) from here panics.
    fn request(&mut self) -> Request<'_>;

    /// Gives up the descriptor: a zero-copy send has succeeded, so that the kernel needs none any more, and goes on
    /// reading the memory. Without this the descriptor would stay open until the notification.
    ///
    /// The driver is busy meanwhile: using a [`Handle`](crate::Handle) from here panics.
    fn give_up_descriptor(&self) -> Option<SharedFd> {
        None
    }

    /// Turns the result into what the caller awaits. Gives the buffer back.
    fn finish(self, done: Done<Self>) -> Self::Output;
}

/// An operation with a result per completion, until the last.
pub trait MultiOp: Sized + 'static {
    /// One result; it owns what the kernel produced.
    type Item;

    /// How many items may wait to be taken. As many, and the operation is cancelled: it ends
    /// with `ECANCELED` behind its items, and is submitted again by whoever wants more.
    const ITEMS_MAX: usize = usize::MAX;

    /// Describes the work; a multishot [`Request`].
    fn request(&mut self) -> Request<'_>;

    /// Turns one completion into an item.
    ///
    /// The driver is busy meanwhile: using a [`Handle`](crate::Handle) from here panics.
    fn item(&self, done: Done<Self>) -> Self::Item;
}

/// Does nothing, by way of the kernel. The cost of everything around an operation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Nop;

impl Op for Nop {
    type Output = io::Result<()>;

    fn request(&mut self) -> Request<'_> {
        Request::Nop
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value().map(drop)
    }
}
