//! Operations in flight, and the two queues of each ring.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::os::fd::OwnedFd;
use std::time::Duration;

use coronet_ring::pool::GroupId;
use coronet_ring::{Completion, Request, Token};

use super::groups::BufferRing;
use super::objects::{HostId, ObjectId};

/// `IORING_CQE_F_BUFFER`
pub(crate) const BUFFER: u32 = 1;
/// `IORING_CQE_F_MORE`
pub(crate) const MORE: u32 = 1 << 1;
/// `IORING_CQE_F_SOCK_NONEMPTY`
pub(crate) const SOCK_NONEMPTY: u32 = 1 << 2;
/// `IORING_CQE_F_NOTIF`
pub(crate) const NOTIFICATION: u32 = 1 << 3;
/// `IORING_CQE_F_BUF_MORE`
pub(crate) const BUFFER_MORE: u32 = 1 << 4;

/// Numbers operations of all rings, in the order in which they were submitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct OpId(pub(crate) u64);

/// Numbers rings.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RingId(pub(crate) u32);

/// How far an operation is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Phase {
    /// In the queue; the kernel has not looked at it.
    Queued,
    /// Waits for its object, or for its first attempt.
    Armed,
    /// A worker has it: it cannot be cancelled any more.
    Running,
    /// Its result is known, and its memory is read on until the notification.
    Lent,
    /// Its result is fixed, and memory will not be touched again.
    Done,
}

/// One operation.
pub(crate) struct Op {
    pub(crate) ring: RingId,
    pub(crate) token: Token,
    pub(crate) request: Request<'static>,
    /// What a close took away when it was submitted.
    pub(crate) closes: Option<OwnedFd>,
    pub(crate) target: Option<ObjectId>,
    pub(crate) phase: Phase,
    /// Bytes that were moved so far (`MSG_WAITALL`).
    pub(crate) progress: usize,
    /// When a timeout runs out.
    pub(crate) due: Option<Duration>,
    /// An attempt is on its way.
    pub(crate) scheduled: bool,
    /// Somebody asked for its end.
    pub(crate) cancelled: bool,
    /// What a zero-copy send has lent, as it was.
    pub(crate) lent: Vec<u8>,
    /// Result and flags, once it is done, or those of a notification.
    pub(crate) done: (i32, u32),
}

/// A completion that was posted and not collected yet.
pub(crate) struct Posted {
    pub(crate) op: Option<OpId>,
    pub(crate) token: Token,
    pub(crate) completion: Completion,
    /// The descriptor in the result: still ours.
    pub(crate) fd: Option<OwnedFd>,
}

/// What waits in a submission queue.
pub(crate) enum Entry {
    Start(OpId),
    Cancel(Token),
}

/// One ring.
pub(crate) struct Ring {
    pub(crate) host: HostId,
    pub(crate) object: ObjectId,
    pub(crate) capacity: usize,
    pub(crate) queue: VecDeque<Entry>,
    pub(crate) posted: VecDeque<Posted>,
    pub(crate) by_token: HashMap<Token, OpId>,
    pub(crate) groups: HashMap<GroupId, BufferRing>,
    /// A message from another ring has come.
    pub(crate) is_poked: bool,
    pub(crate) enters: u64,
    /// Its program is gone; the kernel takes it down in its own time.
    pub(crate) is_gone: bool,
}

/// All rings and operations.
#[derive(Default)]
pub(crate) struct Work {
    pub(crate) rings: BTreeMap<RingId, Ring>,
    pub(crate) ops: BTreeMap<OpId, Op>,
    pub(crate) submitted: u64,
}
