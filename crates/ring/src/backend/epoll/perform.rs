//! From a request to one attempt that does not block. One arm per request, and no other.
//!
//! Sockets are in blocking mode, so each call says by a flag that it must not wait. Three
//! calls know no such flag: `accept4` and `connect` need the descriptor in non-blocking mode,
//! and files have no such mode at all (`offload.rs`).
//!
//! - A connecting socket is switched for the length of one call.
//! - A listener is switched while an accept of it waits, and back when the last one ends. The
//!   mode belongs to the open file, so whoever shares it by `dup` or `fork` sees it. Before each
//!   round of accepting the mode is checked. Give each thread a listener of its own, or set a
//!   shared one to non-blocking mode once and for all: then nothing is switched. `coronet-io` does so.

#![allow(unsafe_code, reason = "carries out requests, whose memory it knows by address")]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, IntoRawFd, RawFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, OFlags, fcntl_getfl, fcntl_setfl, fstat};
use rustix::io::Errno;
use rustix::net::{RecvFlags, SocketFlags, accept_with, recv, sockopt};

use super::attempt::{Attempt, last_errno};
use super::interest::Side;
use super::offload::{HERE, Transfer};
use super::pick::Picker;
use super::waiting::Pending;
use crate::backend::send::{send_bytes, send_message};
use crate::backend::{Capabilities, returns};
use crate::completion::{Completion, MORE, SOCK_NONEMPTY};
use crate::pool::GroupId;
use crate::request::Request;
use crate::token::Token;

/// What this backend can do, whatever the kernel.
pub(crate) const CAPABILITIES: Capabilities = Capabilities {
    waits_nonblocking: true, // Its own calls never wait.
    poll_multi: true,
    buffer_groups: true,
    accept_multi: true,
    recv_multi: true,
    msg_ring: false,
    send_zc: false,
    send_zc_report: false,
    bundles: false,
    incremental: true,
    min_wait: false,
    file_table: false,
};

/// Attempts for one descriptor per turn: a peer that sends without end must not hold the core.
pub(super) const ATTEMPTS_MAX: usize = 32;
/// As `ATTEMPTS_MAX`, for a listener: what is accepted is out of the backlog, and cannot be lost there.
const ACCEPTS_MAX: usize = 256;
/// Where a request goes first.
pub(super) enum Route {
    /// It can be done at once.
    AtOnce,
    /// It waits for a descriptor, if need be.
    Descriptor(RawFd, Side),
    /// As `Descriptor`, but there is seldom something at first: ask the kernel before trying.
    Later(RawFd, Side),
    /// It waits for the clock.
    Clock(Duration),
    /// It ends another operation.
    Cancel(Token),
}

/// Where `request` goes first.
pub(super) fn route(request: &Request<'static>) -> Route {
    let on = |fd: &BorrowedFd<'_>, side| Route::Descriptor(fd.as_raw_fd(), side);
    let later = |fd: &BorrowedFd<'_>, side| Route::Later(fd.as_raw_fd(), side);
    match request {
        Request::Nop | Request::Close { .. } | Request::MsgRing { .. } => Route::AtOnce,
        Request::Accept { listener } => on(listener, Side::Read),
        Request::AcceptMulti { listener } => later(listener, Side::Read),
        Request::Connect { socket, .. } => on(socket, Side::Write),
        Request::Recv { socket, .. } => on(socket, Side::Read),
        Request::RecvMulti { socket, .. } => later(socket, Side::Read),
        Request::Send { socket, .. }
        | Request::SendZc { socket, .. }
        | Request::SendMessage { socket, .. } => on(&socket.fd(), Side::Write),
        Request::Timeout { after } => Route::Clock(after.duration()),
        Request::Poll { fd, .. } | Request::PollMulti { fd, .. } => on(fd, Side::Poll),
        Request::Cancel { target } => Route::Cancel(*target),
        Request::Read { file, .. } => on(file, Side::Read),
        Request::Write { file, .. } => on(file, Side::Write),
    }
}

/// One attempt of an operation.
pub(super) fn attempt(pending: &mut Pending, groups: &mut [Option<Picker>]) -> Attempt {
    let Pending { request, progress, started, restore, .. } = pending;
    match request {
        Request::Nop => Attempt::Done(0),
        Request::Accept { listener } => match accept(*listener, started, restore) {
            Ok(Some(fd)) => Attempt::Done(fd),
            Ok(None) => Attempt::Blocks,
            Err(error) => Attempt::failed(error),
        },
        Request::AcceptMulti { listener } => match accept(*listener, started, restore) {
            Ok(Some(fd)) => Attempt::Item(Completion::new(fd, MORE)),
            Ok(None) => Attempt::Blocks,
            Err(error) => Attempt::failed(error),
        },
        Request::Connect { socket, address } => {
            let address = (address.as_ptr().cast(), address.len());
            connect(*socket, address, started)
        }
        Request::Recv { socket, into, flags } => {
            let room = Room { start: into.as_mut_ptr(), len: into.len() };
            receive(*socket, room, *flags, progress)
        }
        Request::RecvMulti { socket, group, .. } => receive_picked(*socket, *group, groups),
        Request::Send { socket, from, flags } | Request::SendZc { socket, from, flags, .. } => {
            send_bytes(socket, from, *flags, progress).into()
        }
        Request::SendMessage { socket, message, flags } => {
            send_message(socket, message, *flags, progress).into()
        }
        Request::Close { fd } => {
            let fd = fd.take().expect("a close owns its descriptor until it is carried out").into_raw_fd();
            // SAFETY: [loan-pinned] the operation owned this descriptor, and has just given it up.
            let closed = unsafe { libc::close(fd) };
            Attempt::Done(if closed == 0 { 0 } else { -last_errno() })
        }
        Request::Timeout { .. } | Request::Cancel { .. } => unreachable!("routed elsewhere: {request:?}"),
        Request::Poll { fd, events } => match ready(*fd, *events) {
            0 => Attempt::Blocks,
            mask => Attempt::Done(mask),
        },
        Request::PollMulti { fd, events } => match ready(*fd, *events) {
            0 => Attempt::Blocks,
            mask => Attempt::Item(Completion::new(mask, MORE)),
        },
        // There is no queue of another thread that it could be written to.
        Request::MsgRing { .. } => Attempt::failed(Errno::OPNOTSUPP),
        Request::Read { file, into, at } => {
            file_attempt(*file, libc::POLLIN, Transfer::read(*file, into, *at))
        }
        Request::Write { file, from, at } => {
            file_attempt(*file, libc::POLLOUT, Transfer::write(*file, from, *at))
        }
    }
}

/// How often one descriptor is tried per turn.
#[inline]
pub(super) fn attempts_max(request: &Request<'static>) -> usize {
    let accepts = matches!(request, Request::Accept { .. } | Request::AcceptMulti { .. });
    if accepts { ACCEPTS_MAX } else { ATTEMPTS_MAX }
}

/// Memory that a request lends to be filled.
#[derive(Clone, Copy)]
struct Room {
    start: *mut u8,
    len: u32,
}

impl Room {
    fn rest(self, progress: u32) -> Self {
        Self { start: self.start.wrapping_add(progress as usize), len: self.len - progress }
    }

    fn get<'a>(self) -> &'a mut [MaybeUninit<u8>] {
        // SAFETY: [loan-pinned] the room of an operation that is not over, or [buffer-held] the unreported part of
        // a buffer in the ring: nobody else looks at it, and it is used up within the attempt.
        unsafe { std::slice::from_raw_parts_mut(self.start.cast(), self.len as usize) }
    }
}

/// Sees to non-blocking mode at the start of a round, and takes one connection.
fn accept(listener: BorrowedFd<'_>, started: &mut bool, restore: &mut bool) -> Result<Option<i32>, Errno> {
    if !*started {
        let mode = fcntl_getfl(listener)?;
        if !mode.contains(OFlags::NONBLOCK) {
            fcntl_setfl(listener, mode | OFlags::NONBLOCK)?;
            *restore = true;
        }
        *started = true;
    }
    loop {
        match accept_with(listener, SocketFlags::CLOEXEC) {
            Ok(fd) => return Ok(Some(fd.into_raw_fd())),
            Err(Errno::AGAIN) => {
                *started = false;
                return Ok(None);
            }
            Err(Errno::INTR) => {}
            Err(error) => return Err(error),
        }
    }
}

/// Puts a listener back into blocking mode.
pub(super) fn restore_blocking(listener: BorrowedFd<'_>) {
    // It worked the other way round; there is nobody to tell.
    if let Ok(mode) = fcntl_getfl(listener) {
        let _ = fcntl_setfl(listener, mode - OFlags::NONBLOCK);
    }
}

fn connect(
    socket: BorrowedFd<'_>,
    (address, len): (*const libc::sockaddr, u32),
    started: &mut bool,
) -> Attempt {
    if std::mem::replace(started, true) {
        if ready(socket, libc::POLLOUT as u32) == 0 {
            return Attempt::Blocks;
        }
        return match sockopt::socket_error(socket) {
            Ok(Ok(())) => Attempt::Done(0),
            Ok(Err(error)) | Err(error) => Attempt::failed(error),
        };
    }
    let mode = match fcntl_getfl(socket) {
        Ok(mode) => mode,
        Err(error) => return Attempt::failed(error),
    };
    let switches = !mode.contains(OFlags::NONBLOCK);
    if switches && let Err(error) = fcntl_setfl(socket, mode | OFlags::NONBLOCK) {
        return Attempt::failed(error);
    }
    // SAFETY: [loan-pinned] the operation is not over, so the address stands still.
    let connected = unsafe { libc::connect(socket.as_raw_fd(), address, len) };
    let errno = last_errno();
    if switches {
        restore_blocking(socket);
    }
    match (connected, errno) {
        (0, _) => Attempt::Done(0),
        // The second: a signal came, and the kernel goes on.
        (_, libc::EINPROGRESS | libc::EINTR) => Attempt::Blocks,
        (_, errno) => Attempt::Done(-errno),
    }
}

fn receive(socket: BorrowedFd<'_>, room: Room, flags: i32, progress: &mut u32) -> Attempt {
    // MSG_TRUNC counts bytes that it does not write. What is peeked at comes again, so it does not add up.
    let collects = flags & libc::MSG_WAITALL != 0 && flags & libc::MSG_PEEK == 0;
    let may_wait = flags & libc::MSG_DONTWAIT == 0;
    let flags = RecvFlags::from_bits_retain((flags & !libc::MSG_TRUNC) as u32) | RecvFlags::DONTWAIT;
    loop {
        let received = recv(socket, room.rest(*progress).get(), flags);
        returns::renew();
        match received {
            Ok((_, 0)) => return Attempt::Done(*progress as i32),
            Ok((_, count)) => {
                *progress += count as u32;
                if *progress == room.len {
                    return Attempt::Done(*progress as i32);
                }
                if !collects {
                    return Attempt::DoneShort(*progress as i32);
                }
            }
            Err(Errno::AGAIN) if may_wait => return Attempt::Blocks,
            Err(Errno::INTR) => {}
            // As the kernel does it: what was moved counts, and the error comes with the next call.
            Err(_) if *progress > 0 => return Attempt::Done(*progress as i32),
            Err(error) => return Attempt::failed(error),
        }
    }
}

fn receive_picked(socket: BorrowedFd<'_>, group: GroupId, groups: &mut [Option<Picker>]) -> Attempt {
    let picker = groups.get_mut(usize::from(group.to_raw())).and_then(Option::as_mut);
    let Some((picker, picked)) = picker.and_then(|picker| picker.peek().map(|picked| (picker, picked)))
    else {
        return Attempt::failed(Errno::NOBUFS);
    };
    let room = Room { start: picked.start, len: picked.len };
    loop {
        let received = recv(socket, room.get(), RecvFlags::DONTWAIT);
        returns::renew();
        return match received {
            // The end; no buffer comes along.
            Ok((_, 0)) => Attempt::Done(0),
            Ok((_, count)) => {
                let flags = MORE | picker.took(picked, count as u32);
                if count as u32 == picked.len {
                    Attempt::Item(Completion::new(count as i32, flags | SOCK_NONEMPTY))
                } else {
                    Attempt::ItemShort(Completion::new(count as i32, flags))
                }
            }
            Err(Errno::AGAIN) => Attempt::Blocks,
            Err(Errno::INTR) => continue,
            Err(error) => Attempt::failed(error),
        };
    }
}

/// What of `events` is true now, errors and the end included.
fn ready(fd: BorrowedFd<'_>, events: u32) -> i32 {
    let mut fds = [PollFd::from_borrowed_fd(fd, PollFlags::from_bits_retain(events as u16))];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    match poll(&mut fds, Some(&now)) {
        Ok(_) => i32::from(fds[0].revents().bits()),
        // Out of memory: somebody waits, and looks again at the next event.
        Err(_) => 0,
    }
}

/// A file moves its bytes at once (from the page cache, from a pipe), waits for an event, or has to be
/// waited for by a thread.
fn file_attempt(file: BorrowedFd<'_>, event: i16, transfer: Transfer) -> Attempt {
    let mut transfer = transfer;
    let mut moved = transfer.carry_out(libc::RWF_NOWAIT);
    if moved == -libc::ESPIPE {
        transfer.at = HERE;
        moved = transfer.carry_out(libc::RWF_NOWAIT);
    }
    match -moved {
        libc::EAGAIN => Attempt::Blocks,
        libc::EOPNOTSUPP if is_pipe(file) => pipe_attempt(file, event, transfer),
        // The file cannot say whether it would block; a thread would wait for ever in one that never has
        // bytes, and nothing could end it. So it gets what the poller would not wait for either.
        libc::EOPNOTSUPP | libc::ENOSYS | libc::EINTR if transfer.may_block() => Attempt::Blocks,
        libc::EOPNOTSUPP | libc::ENOSYS | libc::EINTR => Attempt::Offload,
        // Part of a file was in the page cache: a thread does all of it again, since positions do not move.
        _ if moved > 0 && (moved as usize) < transfer.len && transfer.at != HERE => Attempt::Offload,
        _ => Attempt::Done(moved),
    }
}

fn is_pipe(file: BorrowedFd<'_>) -> bool {
    fstat(file).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode) == FileType::Fifo)
}

/// A pipe of an older kernel, such as 6.1, which knows no `RWF_NOWAIT`. A thread that waits for one cannot be
/// called back, so it is waited for like a socket. When there is something, the mode is switched for one call,
/// as another reader may be faster.
fn pipe_attempt(pipe: BorrowedFd<'_>, event: i16, mut transfer: Transfer) -> Attempt {
    if ready(pipe, event as u32) == 0 {
        return Attempt::Blocks;
    }
    let mode = match fcntl_getfl(pipe) {
        Ok(mode) => mode,
        Err(error) => return Attempt::failed(error),
    };
    let switches = !mode.contains(OFlags::NONBLOCK);
    if switches && let Err(error) = fcntl_setfl(pipe, mode | OFlags::NONBLOCK) {
        return Attempt::failed(error);
    }
    transfer.at = HERE;
    let moved = transfer.carry_out(0);
    if switches {
        restore_blocking(pipe);
    }
    if moved == -libc::EAGAIN { Attempt::Blocks } else { Attempt::Done(moved) }
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;

    use super::*;
    use crate::span::{Span, SpanMut};

    /// The trap: before the kernel could be asked not to wait, a thread waited, and could not be called back.
    #[test]
    fn a_pipe_that_knows_no_rwf_nowait_is_tried_without_waiting_and_keeps_its_mode() {
        let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
        let read = || {
            let into = SpanMut::over(Box::leak(Box::new([0_u8; 8])));
            pipe_attempt(reader.as_fd(), libc::POLLIN, Transfer::read(reader.as_fd(), &into, 0))
        };
        let write = || {
            let transfer = Transfer::write(writer.as_fd(), &Span::new(&[7; 4096]), 0);
            pipe_attempt(writer.as_fd(), libc::POLLOUT, transfer)
        };
        assert_eq!(read(), Attempt::Blocks);
        assert_eq!((write(), read()), (Attempt::Done(4096), Attempt::Done(8)));
        while write() != Attempt::Blocks {}
        let mode = fcntl_getfl(&writer).expect("a mode");
        assert!(!mode.contains(OFlags::NONBLOCK) && is_pipe(writer.as_fd()));
    }
}
