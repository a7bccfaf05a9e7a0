//! What the kernel answers: a result, and flags that say what comes with it.

use std::io;
use std::marker::PhantomData;
use std::ops::Deref;

/// The operation is not over: more completions follow.
pub(crate) const MORE: u32 = 1 << 1;
/// A kernel-picked buffer comes with this completion; its number is in the upper half.
pub(crate) const BUFFER: u32 = 1 << 0;
/// More data waits in the socket.
pub(crate) const SOCK_NONEMPTY: u32 = 1 << 2;
/// The memory of a zero-copy send is back.
pub(crate) const NOTIFICATION: u32 = 1 << 3;
/// The kernel goes on filling this buffer (incremental groups).
pub(crate) const BUFFER_MORE: u32 = 1 << 4;
pub(crate) const BUFFER_SHIFT: u32 = 16;
/// The kernel copied what a zero-copy send lent. Ours: the kernel says so in the result of the notification, which
/// is `IORING_NOTIF_USAGE_ZC_COPIED` then. No such send picks a buffer, so the upper half is free.
const COPIED: u32 = 1 << 31;

/// One answer to one operation. The flag bits are those of `io_uring_cqe`, on every backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion {
    /// The count or descriptor, or a negated errno.
    pub result: i32,
    /// `IORING_CQE_F_*`.
    pub flags: u32,
    /// Where the data of a kernel-picked buffer starts, in bytes. For the result of a zero-copy send: when it came,
    /// in microseconds that wrap. The driver fills it in.
    pub(crate) offset: u32,
}

impl Completion {
    /// A completion as a backend reports it.
    pub const fn new(result: i32, flags: u32) -> Self {
        Self { result, flags, offset: 0 }
    }

    /// A last completion that carries an error and nothing else.
    pub const fn failed(errno: i32) -> Self {
        Self::new(-errno, 0)
    }

    /// The count or descriptor, or the error with its errno.
    ///
    /// # Errors
    /// The errno that the kernel reported.
    pub fn value(&self) -> io::Result<u32> {
        u32::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }

    /// True while the operation goes on.
    pub const fn has_more(&self) -> bool {
        self.flags & MORE != 0
    }

    /// True if the socket held more data than was received.
    pub const fn sock_nonempty(&self) -> bool {
        self.flags & SOCK_NONEMPTY != 0
    }

    /// True for the notification that ends a zero-copy send, and for a result whose notification has come.
    pub const fn is_notification(&self) -> bool {
        self.flags & NOTIFICATION != 0
    }

    /// True for the result of a zero-copy send of which the kernel reported that it copied the bytes after all.
    pub const fn was_copied(&self) -> bool {
        self.is_notification() && self.flags & COPIED != 0
    }

    /// The result of a zero-copy send, once its memory is back.
    pub(crate) const fn settled_by(self, notification: Self) -> Self {
        // `IORING_NOTIF_USAGE_ZC_COPIED`
        let copied = if notification.result as u32 & (1 << 31) == 0 { 0 } else { COPIED };
        Self { flags: self.flags & !MORE | NOTIFICATION | copied, ..self }
    }

    /// The kernel-picked buffer that came along, also with an error.
    pub const fn buffer(&self) -> Option<u16> {
        if self.flags & BUFFER == 0 { None } else { Some((self.flags >> BUFFER_SHIFT) as u16) }
    }

    pub(crate) const fn buffer_goes_on(&self) -> bool {
        self.flags & BUFFER_MORE != 0
    }
}

/// Names a group of buffers, and the driver it belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct GroupId {
    number: u16,
    driver: u32,
}

impl GroupId {
    pub(crate) const fn new(number: u16, driver: u32) -> Self {
        Self { number, driver }
    }

    /// The number as the kernel knows it (`bgid`).
    pub const fn to_raw(self) -> u16 {
        self.number
    }

    /// Which driver of this process it belongs to.
    pub(crate) const fn driver(self) -> u32 {
        self.driver
    }
}

/// The completion of one operation of type `O`: proof of what the kernel did for it.
///
/// Only the driver makes one, each is handed out once, and an operation cannot pass its own on to
/// another. So an operation may rely on it: that many bytes of its room *are* filled, that
/// descriptor *is* new.
///
/// ```compile_fail
/// # use coronet_ring::{Completion, Done, Nop};
/// let forged: Done<Nop> = Completion::new(64, 0).into();
/// ```
#[derive(Debug)]
pub struct Done<O> {
    completion: Completion,
    group: Option<GroupId>,
    op: PhantomData<fn(O)>,
}

impl<O> Done<O> {
    /// `[done-genuine]`: called with what the backend reported for an `O`, once.
    pub(crate) fn new(completion: Completion, group: Option<GroupId>) -> Self {
        Self { completion, group, op: PhantomData }
    }

    /// The group that the buffer came from.
    pub(crate) fn group(&self) -> Option<GroupId> {
        self.group
    }
}

impl<O> Deref for Done<O> {
    type Target = Completion;

    fn deref(&self) -> &Completion {
        &self.completion
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flags_agree_with_the_io_uring_crate() {
        let flags = BUFFER | MORE | (513 << BUFFER_SHIFT);
        assert!(io_uring::cqueue::more(flags));
        assert_eq!(io_uring::cqueue::buffer_select(flags), Some(513));
        assert_eq!(Completion::new(0, flags).buffer(), Some(513));
        assert!(io_uring::cqueue::sock_nonempty(SOCK_NONEMPTY));
        assert!(io_uring::cqueue::notif(NOTIFICATION));
        assert!(io_uring::cqueue::buffer_more(BUFFER_MORE));
    }

    #[test]
    fn a_notification_adds_to_the_result_what_the_kernel_reported() {
        let result = Completion::new(500, MORE);
        let lent = result.settled_by(Completion::new(0, NOTIFICATION));
        let copied = result.settled_by(Completion::new(i32::MIN, NOTIFICATION));
        assert_eq!((lent.result, lent.has_more(), lent.is_notification()), (500, false, true));
        assert_eq!((copied.result, copied.has_more(), copied.is_notification()), (500, false, true));
        assert!(copied.was_copied() && !lent.was_copied() && !result.was_copied());
    }

    #[test]
    fn a_negative_result_is_the_errno() {
        let error = Completion::failed(libc::EMFILE).value().unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
    }
}
