//! One attempt to send by a system call of its own. Who makes it, and when, is the backend's.

#![allow(unsafe_code, reason = "sends bytes, which it knows by address")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use crate::backend::returns;
use crate::request::Request;
use crate::span::{Message, Span};
use crate::target::Target;

/// What became of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Attempt {
    /// It is over: its result, as the ring would say it.
    Over(i32),
    /// What is left waits for room.
    Blocks,
}

/// One attempt to send what `request` says, from `progress` on; `None` if it does not say what to send.
#[inline]
pub(super) fn send_now(request: &Request<'_>, progress: &mut u32) -> Option<Attempt> {
    if let Request::Send { socket, from, flags } = request {
        Some(send_bytes(socket, from, *flags, progress))
    } else if let Request::SendMessage { socket, message, flags } = request {
        Some(send_message(socket, message, *flags, progress))
    } else {
        None
    }
}

/// One attempt to send the bytes of an operation, from `progress` on.
#[inline]
pub(super) fn send_bytes(socket: &Target<'_>, from: &Span<'_>, flags: i32, progress: &mut u32) -> Attempt {
    // SAFETY: [loan-pinned] the operation is not over, or is borrowed by its request: its bytes stand still and
    // are not written.
    let bytes = unsafe { std::slice::from_raw_parts(from.as_ptr(), from.len() as usize) };
    transmit(bytes.len(), flags, progress, |progress| {
        send(socket.fd(), &bytes[progress as usize..], send_flags(flags))
    })
}

/// One attempt to send the message of an operation, from `progress` on.
pub(super) fn send_message(
    socket: &Target<'_>,
    message: &Message<'_>,
    flags: i32,
    progress: &mut u32,
) -> Attempt {
    transmit(message.len(), flags, progress, |progress| send_rest(socket.fd(), message, progress, flags))
}

fn send_flags(flags: i32) -> SendFlags {
    // Of those who know MSG_WAITALL for sends only the ring does: here `transmit` goes on.
    let flags = flags & !libc::MSG_WAITALL;
    SendFlags::from_bits_retain(flags as u32) | SendFlags::NOSIGNAL | SendFlags::DONTWAIT
}

/// Sends until all is gone (`MSG_WAITALL`), or once.
fn transmit(
    len: usize,
    flags: i32,
    progress: &mut u32,
    mut call: impl FnMut(u32) -> Result<usize, Errno>,
) -> Attempt {
    let may_wait = flags & libc::MSG_DONTWAIT == 0;
    loop {
        let sent = call(*progress);
        returns::renew();
        match sent {
            Ok(count) => {
                *progress += count as u32;
                if *progress as usize == len || count == 0 || flags & libc::MSG_WAITALL == 0 {
                    return Attempt::Over(*progress as i32);
                }
                // A call that took less found no more room; the kernel has noted that somebody waits.
                return Attempt::Blocks;
            }
            Err(Errno::AGAIN) if may_wait => return Attempt::Blocks,
            Err(Errno::INTR) => {}
            Err(_) if *progress > 0 => return Attempt::Over(*progress as i32),
            Err(error) => return Attempt::Over(-error.raw_os_error()),
        }
    }
}

/// Sends what is behind the first `progress` bytes of a message.
fn send_rest(
    socket: BorrowedFd<'_>,
    message: &Message<'_>,
    progress: u32,
    flags: i32,
) -> Result<usize, Errno> {
    // SAFETY: [loan-pinned] the operation is not over, so header, slices and bytes stand still.
    let header = unsafe { *message.as_ptr() };
    let (mut rest, mut parts) = (header, Vec::new());
    if progress > 0 {
        // SAFETY: [loan-pinned] as above.
        let all = unsafe { std::slice::from_raw_parts(header.msg_iov, message.slices()) };
        parts = behind(all, progress as usize);
        rest.msg_iov = parts.as_mut_ptr();
        // C libraries differ in the type of this field; there are at most `MESSAGE_PARTS_MAX`.
        rest.msg_iovlen = parts.len() as _;
    }
    let flags = send_flags(flags).bits() as i32;
    // SAFETY: [loan-pinned] as above; the list of the rest lives until the call returns.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const rest, flags) };
    let failure = |_| Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO);
    let sent = usize::try_from(sent).map_err(failure);
    drop(parts);
    sent
}

/// The slices without their first `skip` bytes.
fn behind(slices: &[libc::iovec], mut skip: usize) -> Vec<libc::iovec> {
    let rest = slices.iter().filter_map(|slice| {
        let skipped = skip.min(slice.iov_len);
        skip -= skipped;
        let iov_base = slice.iov_base.cast::<u8>().wrapping_add(skipped).cast();
        (skipped < slice.iov_len).then_some(libc::iovec { iov_base, iov_len: slice.iov_len - skipped })
    });
    rest.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_of_a_message_starts_in_the_middle_of_a_slice() {
        let bytes = [0_u8; 10];
        let slice = |start: usize, len| libc::iovec {
            iov_base: bytes.as_ptr().wrapping_add(start).cast_mut().cast(),
            iov_len: len,
        };
        let all = [slice(0, 3), slice(3, 3), slice(6, 4)];
        let rest = |skip| -> Vec<_> {
            let rest = behind(&all, skip);
            rest.iter()
                .map(|slice| (slice.iov_base as usize - bytes.as_ptr() as usize, slice.iov_len))
                .collect()
        };
        assert_eq!(rest(0), [(0, 3), (3, 3), (6, 4)]);
        assert_eq!(rest(3), [(3, 3), (6, 4)]);
        assert_eq!(rest(7), [(7, 3)]);
        assert_eq!(rest(10), []);
    }
}
