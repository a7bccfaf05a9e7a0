//! A submission and completion ring driver in which the operation *is* the loan.
//!
//! An io_uring operation lends memory and descriptors to the kernel until its
//! last completion. This crate makes that loan impossible to get wrong: an
//! [`Op`] owns everything it lends, moves into a slot whose address does not
//! change, and comes back (with its buffer) together with its result. The future
//! that waits holds two integers and can be dropped at any time.
//!
//! It promises:
//!
//! - **Sound.** No safe program, `mem::forget` included, lets the kernel touch
//!   memory that Rust thinks is free.
//! - **Nothing lost.** The result of a dropped operation is given back by rule:
//!   a descriptor is closed, a pooled buffer returns to its group.
//! - **One system call per turn**, submitting and waiting together, and no
//!   allocation per operation in steady state.
//!
//! It knows no task, no timer wheel and no socket type; [`Driver::turn`] and
//! the descriptor of a [`Driver`] fit it into any event loop.
//!
//! Modules are declared top layer first, and use only what stands below them.
//!
//! # Examples
//! ```
//! use coronet_ring::{Config, Driver, Nop};
//! use std::{future::Future, pin::pin, task::{Context, Poll, Waker}};
//!
//! # fn main() -> std::io::Result<()> {
//! let driver = Driver::new(Config::default())?;
//! let mut nop = pin!(driver.handle().submit(Nop));
//! let mut context = Context::from_waker(Waker::noop());
//! let result = loop {
//!     if let Poll::Ready(result) = nop.as_mut().poll(&mut context) {
//!         break result;
//!     }
//!     driver.turn(None)?;
//! };
//! assert!(result.is_ok());
//! # Ok(()) }
//! ```

pub mod driver;
pub mod handle;
pub mod stream;
pub mod future;
mod shared;
mod driver_core;
pub mod backend;
mod lifecycle;
pub mod op;
#[cfg(feature = "mutants")]
#[doc(hidden)]
pub mod mutants;
pub mod request;
pub mod pool;
pub mod span;
pub mod completion;
pub mod system;
pub mod token;
pub mod fd;
pub mod target;
pub mod error;
pub mod stats;

#[doc(inline)]
pub use {
    backend::{Backend, BackendReport, Capabilities, Preference, Refusal, kernel_release},
    completion::{Completion, Done},
    driver::{Config, Driver},
    fd::SharedFd,
    future::{DetachedOp, EarlyOp, OpFuture},
    handle::{Handle, Started},
    op::{MultiOp, Nop, OnDrop, Op},
    pool::{Account, Group, GroupConfig, Lease},
    request::Request,
    span::{Message, MessageSpace, Span, SpanMut},
    stats::Stats,
    stream::OpStream,
    system::{RealSystem, SocketOption, System},
    target::Target,
    token::Token,
};
