//! What carries requests out: io_uring, or anything else that keeps this contract.
//!
//! 1. Exactly one *last* completion (without `MORE`) per accepted request.
//! 2. After it, lent memory is never touched.
//! 3. `cancel` is a hint; the last completion still comes.
//! 4. A count never exceeds the span it was given.
//! 5. `park` returns at the deadline, on unpark, or with a completion.
//! 6. `submit` never reports a completion itself; `park` does.
//! 7. The completion of a one-shot says `MORE` for a zero-copy send only, once; after it the descriptor is not used,
//!    and the memory is only read.

pub(crate) mod select;
mod capability;
pub(crate) mod epoll;
pub(crate) mod uring;
mod refusal;
pub(crate) mod mask;
mod quirks;
mod unpark;
mod ahead;
mod send;
mod returns;

use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::rc::Rc;
use std::time::Duration;

use crate::completion::Completion;
use crate::pool::{GroupId, GroupMemory};
use crate::system::{RealSystem, System};
use crate::token::Token;
pub use capability::{Capabilities, kernel_release};

pub use crate::lifecycle::contract::Lent;
pub use crate::request::Submitted;
pub use mask::Capability;
pub use refusal::{Refusal, Stage};
pub use select::Preference;
pub use unpark::Unparker;

/// Completions of one `park`, in the order they were posted.
pub type Batch = Vec<(Token, Completion)>;

/// The numbered contract of the module page, as a trait.
///
/// # Safety
/// - An implementation keeps the numbered contract: above all, it reports a last completion only when
///   it is done with what the request lent, and keeps nothing of the request after that. [loan-pinned]
/// - What it reports is what it did: counts, descriptors and buffers are genuine. [done-genuine]
/// - The descriptor of `as_fd` stays open as long as the backend lives. [ring-open]
#[allow(unsafe_code, reason = "declares the trait; implementations vouch for the kernel's side of each loan")]
pub unsafe trait Backend {
    /// Starts `lent`; its completions will carry `token`.
    fn submit(&mut self, token: Token, lent: Lent) -> Submitted;

    /// Asks for an early end of `token`.
    fn cancel(&mut self, token: Token) -> Submitted;

    /// Hands over what was submitted, waits, and collects. `None` waits without limit,
    /// zero does not wait.
    ///
    /// # Errors
    /// Only if the backend cannot go on at all; what is transient is retried by the next call.
    fn park(&mut self, timeout: Option<Duration>, batch: &mut Batch) -> io::Result<()>;

    /// True if a `park` that does not wait could achieve something.
    fn has_pending(&mut self) -> bool;

    /// What ends a `park` from another thread.
    fn unparker(&self) -> Unparker;

    /// Lets requests pick buffers from `memory`, which stays mapped until after `close_group`
    /// or for ever.
    ///
    /// # Errors
    /// `Unsupported` where the kernel has no such groups.
    fn open_group(&mut self, group: GroupId, memory: &GroupMemory, incremental: bool) -> io::Result<()>;

    /// No request picks from it any more.
    fn close_group(&mut self, group: GroupId);

    /// Readable while there is something to collect.
    fn as_fd(&self) -> BorrowedFd<'_>;

    /// Which backend this is, and why.
    fn report(&self) -> &BackendReport;

    /// System calls so far, and how often the completion queue overflowed.
    fn counters(&self) -> Counters;

    /// The kernel behind it, for the calls that go past the ring. The real one, unless it is
    /// simulated. Asked once, when a driver is made.
    fn system(&self) -> Rc<dyn System> {
        Rc::new(RealSystem)
    }
}

/// What a backend counts by itself.
#[derive(Clone, Copy, Debug, Default)]
pub struct Counters {
    /// System calls that submitted, waited or both.
    pub enters: u64,
    /// Times that the completion queue was found overflowed.
    pub cq_overflows: u64,
}

/// Which backend runs, and why. Displays as one line.
#[derive(Clone, Debug)]
pub struct BackendReport {
    /// `io_uring`, or the name of another backend.
    pub name: &'static str,
    /// The reason, and what was set up.
    pub why: String,
    /// What the kernel can do for it.
    pub capabilities: Capabilities,
}

impl fmt::Display for BackendReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.name, self.why)
    }
}
