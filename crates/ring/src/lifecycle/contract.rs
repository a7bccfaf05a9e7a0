//! What the table may do with an operation whose type it has forgotten.

#![allow(unsafe_code, reason = "calls an operation through a type-erased address")]

use crate::completion::{Completion, Done, GroupId};
use crate::fd::SharedFd;
use crate::lifecycle::cell::Cell;
use crate::op::{MultiOp, OnDrop, Op};
use crate::request::Request;

/// The functions of one operation type, and its policy.
pub(crate) struct Contract {
    request: unsafe fn(Cell) -> Request<'static>,
    dispose_item: unsafe fn(Cell, Completion, Option<GroupId>),
    dispose_last: unsafe fn(Cell, Completion, Option<GroupId>),
    release: unsafe fn(Cell),
    give_up_descriptor: unsafe fn(Cell) -> Option<SharedFd>,
    pub(crate) on_drop: OnDrop,
    pub(crate) is_multishot: bool,
    pub(crate) items_max: usize,
}

/// A request whose brand is gone: its memory is pinned by the slot it came from.
pub struct Lent(Request<'static>);

impl Lent {
    /// # Safety
    /// - All memory that `request` names stays where it is, and is touched by nobody
    ///   else, until the last completion of its token. [loan-pinned]
    unsafe fn new(request: Request<'static>) -> Self {
        Self(request)
    }

    /// The work to do. What it points to may be touched until its last completion.
    pub fn into_request(self) -> Request<'static> {
        self.0
    }

    /// Looks at the work.
    pub fn request(&self) -> &Request<'static> {
        &self.0
    }
}

impl Contract {
    pub(crate) const fn of<O: Op>() -> &'static Self {
        const {
            &Self {
                request: request_of::<O>,
                // A one-shot has no items: an early result is kept, not disposed of.
                dispose_item: |_, _, _| {},
                dispose_last: finish_and_drop::<O>,
                release: release::<O>,
                give_up_descriptor: give_up_descriptor::<O>,
                on_drop: O::ON_DROP,
                is_multishot: false,
                items_max: usize::MAX,
            }
        }
    }

    pub(crate) const fn of_multi<O: MultiOp>() -> &'static Self {
        const {
            &Self {
                request: request_of_multi::<O>,
                dispose_item: drop_item::<O>,
                dispose_last: drop_item_and_release::<O>,
                release: release::<O>,
                give_up_descriptor: |_| None,
                on_drop: OnDrop::Cancel,
                is_multishot: true,
                items_max: O::ITEMS_MAX,
            }
        }
    }

    /// Lends what stands in `cell`.
    ///
    /// # Safety
    /// - `cell` holds the operation of this contract. [cell-typed]
    /// - Its slot pins it from now until its last completion. [loan-pinned]
    pub(crate) unsafe fn lend(&self, cell: Cell) -> Lent {
        // SAFETY: [cell-typed] passed on from the caller.
        let request = unsafe { (self.request)(cell) };
        assert_eq!(request.is_multishot(), self.is_multishot, "{request:?} from the wrong kind of operation");
        // SAFETY: [loan-pinned] passed on from the caller.
        unsafe { Lent::new(request) }
    }

    /// Gives back what one completion of a multishot owns.
    ///
    /// # Safety
    /// - `cell` holds the operation of this contract. [cell-typed]
    pub(crate) unsafe fn dispose_item(&self, cell: Cell, done: Completion, group: Option<GroupId>) {
        // SAFETY: [cell-typed] passed on from the caller.
        unsafe { (self.dispose_item)(cell, done, group) }
    }

    /// Gives back what the last completion owns, and the operation. The cell is free afterwards.
    ///
    /// # Safety
    /// - `cell` holds the operation of this contract, taken by nobody else. [cell-typed]
    /// - The kernel is done with it. [loan-pinned]
    pub(crate) unsafe fn dispose_last(&self, cell: Cell, done: Completion, group: Option<GroupId>) {
        // SAFETY: [cell-typed] [loan-pinned] passed on from the caller.
        unsafe { (self.dispose_last)(cell, done, group) }
    }

    /// Takes the descriptor out of an operation whose result is known, and whose memory is not back.
    ///
    /// # Safety
    /// - `cell` holds the operation of this contract, and nobody takes it meanwhile. [cell-typed]
    /// - The kernel only reads what it lent. [loan-pinned]
    pub(crate) unsafe fn give_up_descriptor(&self, cell: Cell) -> Option<SharedFd> {
        // SAFETY: [cell-typed] [loan-pinned] passed on from the caller.
        unsafe { (self.give_up_descriptor)(cell) }
    }

    /// Drops an operation that owns no result. The cell is free afterwards.
    ///
    /// # Safety
    /// - As for `dispose_last`. [cell-typed] [loan-pinned]
    pub(crate) unsafe fn release(&self, cell: Cell) {
        // SAFETY: [cell-typed] [loan-pinned] passed on from the caller.
        unsafe { (self.release)(cell) }
    }
}

unsafe fn request_of<O: Op>(cell: Cell) -> Request<'static> {
    // SAFETY: [cell-typed] `Contract::of::<O>` is used for cells that hold an `O`.
    let op = unsafe { cell.address::<O>() };
    // SAFETY: [loan-pinned] not yet accepted, so nobody else looks at it; it stays until its last completion.
    let op: &'static mut O = unsafe { &mut *op };
    op.request()
}

unsafe fn request_of_multi<O: MultiOp>(cell: Cell) -> Request<'static> {
    // SAFETY: [cell-typed] `Contract::of_multi::<O>` is used for cells that hold an `O`.
    let op = unsafe { cell.address::<O>() };
    // SAFETY: [loan-pinned] as for `request_of`.
    let op: &'static mut O = unsafe { &mut *op };
    op.request()
}

unsafe fn finish_and_drop<O: Op>(cell: Cell, done: Completion, group: Option<GroupId>) {
    // SAFETY: [cell-typed] [loan-pinned] the caller of `dispose_last` vouches for both.
    let op = unsafe { cell.take::<O>() };
    drop(op.finish(Done::new(done, group)));
}

unsafe fn drop_item<O: MultiOp>(cell: Cell, done: Completion, group: Option<GroupId>) {
    // SAFETY: [cell-typed] as for `request_of_multi`.
    let op = unsafe { cell.address::<O>() };
    // SAFETY: [loan-pinned] a multishot lends descriptors only, so a shared borrow meets no writer.
    let op = unsafe { &*op };
    drop(op.item(Done::new(done, group)));
}

unsafe fn drop_item_and_release<O: MultiOp>(cell: Cell, done: Completion, group: Option<GroupId>) {
    // SAFETY: [cell-typed] [loan-pinned] the caller of `dispose_last` vouches for both.
    let op = unsafe { cell.take::<O>() };
    drop(op.item(Done::new(done, group)));
}

unsafe fn give_up_descriptor<O: Op>(cell: Cell) -> Option<SharedFd> {
    // SAFETY: [cell-typed] as for `request_of`.
    let op = unsafe { cell.address::<O>() };
    // SAFETY: [loan-pinned] an early result comes of requests whose memory is only read, so a shared borrow meets
    // no writer; the table is busy, so nobody takes the operation meanwhile.
    let op = unsafe { &*op };
    op.give_up_descriptor()
}

unsafe fn release<O>(cell: Cell) {
    // SAFETY: [cell-typed] [loan-pinned] the caller of `release` vouches for both.
    drop(unsafe { cell.take::<O>() });
}
