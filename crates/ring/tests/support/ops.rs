//! The operations that the tests on a real ring use. Safe code, but for the adoption of
//! a descriptor that the kernel made.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::rc::Rc;
use std::time::Duration;

use coronet_ring::pool::Received;
use coronet_ring::request::Timespec;
use coronet_ring::{
    Completion, Done, Group, MessageSpace, MultiOp, OnDrop, Op, Request, SharedFd, Span, SpanMut,
};

pub struct Timeout(pub Timespec);

impl Timeout {
    pub fn after(duration: Duration) -> Self {
        Self(duration.into())
    }
}

impl Op for Timeout {
    type Output = i32;

    fn request(&mut self) -> Request<'_> {
        Request::Timeout { after: &self.0 }
    }

    fn finish(self, done: Done<Self>) -> i32 {
        done.result
    }
}

/// Receives into a buffer of its own; `witness` counts how many live.
pub struct Recv {
    pub socket: SharedFd,
    pub bytes: Vec<u8>,
    pub witness: Rc<()>,
}

impl Op for Recv {
    type Output = (io::Result<u32>, Vec<u8>);

    fn request(&mut self) -> Request<'_> {
        Request::Recv { socket: self.socket.as_fd(), into: SpanMut::over(&mut self.bytes), flags: 0 }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        (done.value(), self.bytes)
    }
}

pub struct RecvMulti {
    pub socket: SharedFd,
    pub group: Group,
    pub bundle: bool,
}

impl MultiOp for RecvMulti {
    type Item = io::Result<Received>;

    fn request(&mut self) -> Request<'_> {
        Request::RecvMulti { socket: self.socket.as_fd(), group: self.group.id(), bundle: self.bundle }
    }

    fn item(&self, done: Done<Self>) -> Self::Item {
        let value = done.value();
        let received = self.group.receive(done);
        value.map(|_| received)
    }
}

pub struct AcceptMulti(pub SharedFd);

impl MultiOp for AcceptMulti {
    type Item = io::Result<OwnedFd>;

    fn request(&mut self) -> Request<'_> {
        Request::AcceptMulti { listener: self.0.as_fd() }
    }

    fn item(&self, done: Done<Self>) -> Self::Item {
        adopt(&done)
    }
}

#[allow(unsafe_code, reason = "adopts the descriptor that the kernel made for this operation")]
fn adopt<O>(done: &Done<O>) -> io::Result<OwnedFd> {
    let fd = done.value()?;
    // SAFETY: [fd-adopted] the result of an accept is a descriptor that the kernel made for it alone.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as i32) })
}

pub struct Accept(pub SharedFd);

impl Op for Accept {
    type Output = io::Result<OwnedFd>;

    fn request(&mut self) -> Request<'_> {
        Request::Accept { listener: self.0.as_fd() }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        adopt(&done)
    }
}

pub struct ReadAt {
    pub file: SharedFd,
    pub into: Vec<u8>,
    pub at: u64,
}

impl Op for ReadAt {
    type Output = io::Result<Vec<u8>>;

    fn request(&mut self) -> Request<'_> {
        Request::Read { file: self.file.as_fd(), into: SpanMut::over(&mut self.into), at: self.at }
    }

    fn finish(mut self, done: Done<Self>) -> Self::Output {
        self.into.truncate(done.value()? as usize);
        Ok(self.into)
    }
}

pub struct WriteAt {
    pub file: SharedFd,
    pub from: Vec<u8>,
    pub at: u64,
}

impl Op for WriteAt {
    type Output = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::Write { file: self.file.as_fd(), from: Span::new(&self.from), at: self.at }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value()
    }
}

pub struct Send {
    pub socket: SharedFd,
    pub from: Vec<u8>,
}

impl Op for Send {
    type Output = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::Send { socket: self.socket.target(), from: Span::new(&self.from), flags: libc::MSG_WAITALL }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value()
    }
}

/// Sends with the memory lent until the notification; `witness` counts how many live.
pub struct SendZc {
    socket: Cell<Option<SharedFd>>,
    from: Vec<u8>,
    _witness: Rc<()>,
}

impl SendZc {
    pub fn new(socket: SharedFd, from: Vec<u8>, witness: Rc<()>) -> Self {
        Self { socket: Cell::new(Some(socket)), from, _witness: witness }
    }
}

impl Op for SendZc {
    type Output = (Completion, Vec<u8>);

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        let socket = self.socket.get_mut().as_ref().expect("given up with the result").target();
        Request::SendZc { socket, from: Span::new(&self.from), flags: libc::MSG_WAITALL, report: true }
    }

    fn give_up_descriptor(&self) -> Option<SharedFd> {
        self.socket.take()
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        (*done, self.from)
    }
}

/// Points into itself, three times over: header, slices, bytes.
pub struct SendMessage {
    pub socket: SharedFd,
    pub slices: Vec<Vec<u8>>,
    pub inline: [u8; 16],
    pub space: MessageSpace,
}

impl Op for SendMessage {
    type Output = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        let slices = self.slices.iter().map(Vec::as_slice).chain([self.inline.as_slice()]);
        let message = self.space.gather(slices);
        Request::SendMessage { socket: self.socket.target(), message, flags: 0 }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value()
    }
}

pub struct Poll(pub SharedFd);

impl Op for Poll {
    type Output = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::Poll { fd: self.0.as_fd(), events: libc::POLLIN as u32 }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value()
    }
}

pub struct PollMulti(pub SharedFd);

impl MultiOp for PollMulti {
    type Item = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::PollMulti { fd: self.0.as_fd(), events: libc::POLLIN as u32 }
    }

    fn item(&self, done: Done<Self>) -> Self::Item {
        done.value()
    }
}

pub struct MsgRing {
    pub ring: OwnedFd,
}

impl Op for MsgRing {
    type Output = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::MsgRing { ring: self.ring.as_fd(), result: 1 }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value()
    }
}

pub struct Connect {
    pub socket: SharedFd,
    pub address: Vec<u8>,
}

impl Connect {
    /// `port` of 127.0.0.1, as `struct sockaddr_in`.
    pub fn to_port(socket: SharedFd, port: u16) -> Self {
        let mut address = (libc::AF_INET as u16).to_ne_bytes().to_vec();
        address.extend(port.to_be_bytes());
        address.extend([127, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0]);
        Self { socket, address }
    }
}

impl Op for Connect {
    type Output = io::Result<u32>;

    fn request(&mut self) -> Request<'_> {
        Request::Connect { socket: self.socket.as_fd(), address: Span::new(&self.address) }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value()
    }
}

pub struct Close(pub Option<OwnedFd>);

impl Op for Close {
    type Output = (io::Result<u32>, bool);

    fn request(&mut self) -> Request<'_> {
        Request::Close { fd: &mut self.0 }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        (done.value(), self.0.is_some())
    }
}
