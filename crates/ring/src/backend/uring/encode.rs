//! From a request to a submission entry. One arm per request, and no other.

use std::os::fd::{AsRawFd, IntoRawFd};

use io_uring::squeue::Entry;
use io_uring::{opcode, types};

use crate::request::Request;
use crate::target::TableNumber;

/// `IORING_SEND_ZC_REPORT_USAGE`
pub(crate) const REPORT_USAGE: u16 = 1 << 3;

/// Fills the entry for `request`.
///
/// `files` is the ring's table of files, if it has one.
///
/// Call it only when the entry is going to be published: a `Close` gives its
/// descriptor away here.
#[inline]
pub(crate) fn encode(request: Request<'static>, files: Option<TableNumber>) -> Entry {
    let fd = |fd: std::os::fd::BorrowedFd<'_>| types::Fd(fd.as_raw_fd());
    match request {
        Request::Nop => opcode::Nop::new().build(),
        Request::Accept { listener } => {
            opcode::Accept::new(fd(listener), std::ptr::null_mut(), std::ptr::null_mut())
                .flags(libc::SOCK_CLOEXEC)
                .build()
        }
        Request::AcceptMulti { listener } => {
            opcode::AcceptMulti::new(fd(listener)).flags(libc::SOCK_CLOEXEC).build()
        }
        Request::Connect { socket, address } => {
            opcode::Connect::new(fd(socket), address.as_ptr().cast(), address.len()).build()
        }
        Request::Recv { socket, into, flags } => {
            // MSG_TRUNC counts bytes that it does not write.
            let flags = flags & !libc::MSG_TRUNC;
            opcode::Recv::new(fd(socket), into.as_mut_ptr(), into.len()).flags(flags).build()
        }
        Request::RecvMulti { socket, group, bundle: false } => {
            opcode::RecvMulti::new(fd(socket), group.to_raw()).build()
        }
        Request::RecvMulti { socket, group, bundle: true } => {
            opcode::RecvMultiBundle::new(fd(socket), group.to_raw()).build()
        }
        Request::Send { socket, from, flags } => {
            let send = match files.and_then(|files| socket.place_in(files)) {
                Some(place) => opcode::Send::new(types::Fixed(place), from.as_ptr(), from.len()),
                None => opcode::Send::new(types::Fd(socket.as_raw_fd()), from.as_ptr(), from.len()),
            };
            send.flags(flags | libc::MSG_NOSIGNAL).build()
        }
        Request::SendZc { socket, from, flags, report } => {
            let send = match files.and_then(|files| socket.place_in(files)) {
                Some(place) => opcode::SendZc::new(types::Fixed(place), from.as_ptr(), from.len()),
                None => opcode::SendZc::new(types::Fd(socket.as_raw_fd()), from.as_ptr(), from.len()),
            };
            let usage = if report { REPORT_USAGE } else { 0 };
            send.flags(flags | libc::MSG_NOSIGNAL).zc_flags(usage).build()
        }
        Request::SendMessage { socket, message, flags } => {
            let send = match files.and_then(|files| socket.place_in(files)) {
                Some(place) => opcode::SendMsg::new(types::Fixed(place), message.as_ptr()),
                None => opcode::SendMsg::new(types::Fd(socket.as_raw_fd()), message.as_ptr()),
            };
            send.flags((flags | libc::MSG_NOSIGNAL) as u32).build()
        }
        Request::Close { fd } => {
            let fd = fd.take().expect("a close owns its descriptor until it is accepted");
            opcode::Close::new(types::Fd(fd.into_raw_fd())).build()
        }
        Request::Timeout { after } => opcode::Timeout::new(after.as_kernel()).build(),
        Request::Poll { fd: target, events } => opcode::PollAdd::new(fd(target), events).build(),
        Request::PollMulti { fd: target, events } => {
            opcode::PollAdd::new(fd(target), events).multi(true).build()
        }
        Request::Cancel { target } => opcode::AsyncCancel::new(target.to_raw()).build(),
        // Zero: a token chosen here could end a stranger's loan over there.
        Request::MsgRing { ring, result } => opcode::MsgRingData::new(fd(ring), result, 0, None).build(),
        Request::Read { file, into, at } => {
            opcode::Read::new(fd(file), into.as_mut_ptr(), into.len()).offset(at).build()
        }
        Request::Write { file, from, at } => {
            opcode::Write::new(fd(file), from.as_ptr(), from.len()).offset(at).build()
        }
    }
}
