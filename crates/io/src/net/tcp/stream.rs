//! A TCP connection.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coronet_ring::{SharedFd, SocketOption, Started};

use super::flow::Flow;
use super::receive::{By, Receive, RecvLease};
use super::send_zc::SendZc;
use super::socket::Socket;
use super::transmit::{Sending, Sends, Transmit, Write, WriteAll};
use crate::buf::{BufResult, IoBuf, IoBufMut, IoVectoredBuf, Unsent};
use crate::context;
use crate::io::EndedEarly;
use crate::net::turn::Turn;
use crate::op;

/// How long the kernel goes on with the write of a dropped future, once the stream itself is
/// dropped, for a peer that takes nothing. Then the connection is reset.
const FLUSH_TIME_MAX: Duration = Duration::from_secs(30);

/// A TCP connection.
///
/// All methods take `&self`: one task may read while another writes. A second reader, or a second
/// writer, gets an error of kind `ResourceBusy`.
///
/// Dropping the stream closes the connection. A write whose future was dropped before goes on
/// to its end, or to the reset of a peer that takes nothing for 30 s; use [`Self::close`] to wait for it.
///
/// It belongs to the thread that made it:
///
/// ```compile_fail
/// fn needs_send<T: Send>() {}
/// needs_send::<coronet_io::net::TcpStream>();
/// ```
pub struct TcpStream {
    pub(super) socket: Socket,
    pub(super) receive: RefCell<Receive>,
    pub(super) transmit: Transmit,
    pub(super) sends: Sends,
    flow: Cell<Flow>,
    pub(super) reader: Turn,
    pub(super) writer: Turn,
}

// Streams are many.
#[cfg(target_pointer_width = "64")]
const _: () = assert!(size_of::<TcpStream>() <= 96);

impl TcpStream {
    pub(super) fn adopt(fd: OwnedFd) -> Self {
        Self::adopt_shared(SharedFd::new(fd))
    }

    /// Takes what has arrived, without a copy; waits for it if need be. Empty at the end of the stream.
    ///
    /// The lease holds a buffer that other streams of this thread need: drop it, send it on, or copy
    /// what you keep.
    ///
    /// # Cancellation
    /// Safe. The receive goes on; what arrives stays with the stream, and the next read gets it first.
    ///
    /// # Kernel
    /// 6.0 on buffers that the kernel picks; 5.11 with a copy.
    ///
    /// # Errors
    /// `ConnectionReset` if the peer aborted; `ResourceBusy` while another read is under way. An error
    /// is reported once, the end of the stream ever after.
    ///
    /// # Examples
    /// ```
    /// # use coronet_io::net::TcpStream;
    /// # async fn demo(peer: TcpStream) -> std::io::Result<()> {
    /// loop {
    ///     let bytes = peer.recv().await?;
    ///     if bytes.is_empty() {
    ///         break;
    ///     }
    ///     peer.write_all(bytes).await.0?; // back as it came, without a copy
    /// }
    /// # Ok(()) }
    /// ```
    pub fn recv(&self) -> RecvLease<'_> {
        RecvLease::new(self)
    }

    /// Reads what has arrived into the room of `buf`; waits for it if need be.
    ///
    /// Resolves with the number of bytes, and the buffer. Zero means the peer will send no more, or
    /// `buf` had no room.
    ///
    /// # Cancellation
    /// Safe. Bytes that arrive after the future is dropped stay with the stream: the next read gets
    /// them first. The buffer is dropped.
    ///
    /// # Kernel
    /// As for [`Self::recv`].
    ///
    /// # Errors
    /// As for [`Self::recv`]. The buffer comes back with every error.
    ///
    /// # Examples
    /// ```
    /// # use coronet_io::net::TcpStream;
    /// # async fn demo(peer: TcpStream) -> std::io::Result<()> {
    /// let (count, bytes) = peer.read(Vec::with_capacity(4096)).await;
    /// assert_eq!(count?, bytes.len());
    /// # Ok(()) }
    /// ```
    pub async fn read<B: IoBufMut>(&self, mut buf: B) -> BufResult<usize, B> {
        let _turn = match self.reader.take("read") {
            Ok(turn) => turn,
            Err(error) => return (Err(error), buf),
        };
        if buf.spare().is_empty() {
            return (Ok(0), buf);
        }
        let arrived = poll_fn(|cx| self.receive.borrow_mut().poll_collect(1, self.by(), cx)).await;
        match arrived {
            Ok(true) => {
                let count = self.copy_arrived(&mut buf);
                (Ok(count), buf)
            }
            Ok(false) => (Ok(0), buf),
            Err(error) => (Err(error), buf),
        }
    }

    /// Reads until the room of `buf` is full.
    ///
    /// # Cancellation
    /// Safe, unlike elsewhere: until all bytes are there, they stay with the stream, and the next read
    /// gets them first.
    ///
    /// # Kernel
    /// As for [`Self::recv`].
    ///
    /// # Errors
    /// `UnexpectedEof`, with an [`EndedEarly`] inside, if the peer ends before; the bytes before it are
    /// in the buffer. Otherwise as for [`Self::recv`]: what arrived stays with the stream.
    pub async fn read_exact<B: IoBufMut>(&self, mut buf: B) -> BufResult<(), B> {
        let _turn = match self.reader.take("read") {
            Ok(turn) => turn,
            Err(error) => return (Err(error), buf),
        };
        let wanted = buf.spare().len();
        let arrived = poll_fn(|cx| self.receive.borrow_mut().poll_collect(wanted, self.by(), cx)).await;
        match arrived {
            Ok(complete) => {
                let (count, buf) = self.copy_all(buf, wanted);
                debug_assert!(!complete || count == wanted);
                if complete { (Ok(()), buf) } else { (Err(EndedEarly { got: count, wanted }.into()), buf) }
            }
            Err(error) => (Err(error), buf),
        }
    }

    /// One lease after the other into the room, which a fixed buffer offers from its start each time.
    fn copy_all<B: IoBufMut>(&self, mut buf: B, wanted: usize) -> (usize, B) {
        let mut count = 0;
        while count < wanted {
            let mut rest = crate::buf::Slice::rest_of_room(buf, count, wanted - count);
            let copied = self.copy_arrived(&mut rest);
            buf = rest.into_inner();
            count += copied;
            if copied == 0 {
                break;
            }
        }
        (count, buf)
    }

    /// Copies the first piece of what has arrived.
    fn copy_arrived<B: IoBufMut>(&self, buf: &mut B) -> usize {
        let room = buf.spare().len();
        let Some(mut lease) = self.receive.borrow_mut().arrived().take_up_to(room) else { return 0 };
        let count = buf.put(&lease);
        if count < lease.len() {
            // A buffer whose room shrank between two looks: odd, but no reason to lose bytes.
            lease.advance(count);
            self.receive.borrow_mut().arrived().insert(0, lease);
        }
        count
    }

    /// Sends the bytes of `buf`: all of them, unless the connection fails in the middle.
    ///
    /// Resolves when the kernel has taken them, with their number and the buffer.
    ///
    /// # Cancellation
    /// Safe. A send that was started goes on to its end, and later writes wait behind it. If it ends
    /// short, the next write, flush or shutdown says so, once, with a [`Partial`](super::Partial) inside, before
    /// new data. A write that was never polled, or still waited behind such a send, has sent nothing.
    ///
    /// # Errors
    /// `BrokenPipe` or `ConnectionReset` if the peer is gone; `WriteZero` with a
    /// [`Partial`](super::Partial) for an earlier, dropped write; `ResourceBusy` while another write is under way.
    /// The buffer comes back with every error.
    pub fn write<B: IoBuf>(&self, buf: B) -> Write<'_, B> {
        Write::new(self, buf)
    }

    /// Sends the bytes of `buf` without a copy: the network reads them in place.
    ///
    /// Worth it from some 16 KiB on, on a network card. On loopback the kernel copies all the same, and that costs
    /// more than a write. [`Self::write`] finds out by itself, for buffers that can be shared.
    ///
    /// The future has two ends: [`SendZc::sent`] is the result, and comes as soon as that of a write; awaiting the
    /// future itself gives the buffer back as well, once the network is done with it, which may be a round trip
    /// later or more. The next send need not wait for that.
    ///
    /// # Cancellation
    /// As for [`Self::write`]. The buffer stays with the network until that is done with it, and is dropped then.
    ///
    /// # Kernel
    /// 6.0. Before, on epoll, and where the kernel may lock no memory, it is a write.
    ///
    /// # Errors
    /// As for [`Self::write`].
    ///
    /// # Examples
    /// ```
    /// # use coronet_io::net::TcpStream;
    /// # async fn demo(peer: TcpStream, pages: [Vec<u8>; 2]) -> std::io::Result<()> {
    /// let [first, second] = pages;
    /// let mut first = peer.send_zc(first);
    /// first.sent().await?;
    /// let (result, _second) = peer.send_zc(second).await;
    /// result?;
    /// let (_, _first) = first.await;
    /// # Ok(()) }
    /// ```
    pub fn send_zc<B: IoBuf>(&self, buf: B) -> SendZc<'_, B> {
        SendZc::new(self, buf)
    }

    /// Sends all bytes of `buf`.
    ///
    /// # Cancellation
    /// As for [`Self::write`]: it takes all of the buffer in one send.
    ///
    /// # Errors
    /// As for [`Self::write`]. How much was sent before an error is not known.
    pub fn write_all<B: IoBuf>(&self, buf: B) -> WriteAll<'_, B> {
        WriteAll::new(self, buf)
    }

    /// Sends the bytes of all buffers, in order, as one.
    ///
    /// At most 1024 buffers go at once; the number says how many bytes went.
    ///
    /// # Cancellation
    /// As for [`Self::write`].
    ///
    /// # Errors
    /// As for [`Self::write`].
    pub async fn write_vectored<V: IoVectoredBuf>(&self, bufs: V) -> BufResult<usize, V> {
        let _turn = match self.start_write().await {
            Ok(turn) => turn,
            Err(error) => return (Err(error), bufs),
        };
        let parts = bufs.slices().filter(|bytes| !bytes.is_empty());
        let len = parts.take(coronet_ring::span::MESSAGE_PARTS_MAX).map(<[u8]>::len).sum();
        if len == 0 {
            return (Ok(0), bufs);
        }
        let send = op::SendVectored::new(
            self.transmit.take_socket(&self.socket, &self.sends),
            bufs,
            libc::MSG_WAITALL,
        );
        match self.socket.handle().send(send) {
            Started::Over(sent) => sent,
            Started::UnderWay(send) => Sending::new(self, send, len).await,
        }
    }

    /// Sends all bytes of all buffers, in order.
    ///
    /// # Cancellation
    /// As for [`Self::write`], up to 1024 buffers.
    ///
    /// # Errors
    /// As for [`Self::write_all`].
    pub async fn write_vectored_all<V: IoVectoredBuf>(&self, mut bufs: V) -> BufResult<(), V> {
        let total = bufs.total_len();
        let mut sent = 0;
        while sent < total {
            let (result, rest) = self.write_vectored(Unsent::new(bufs, sent)).await;
            bufs = rest.into_inner();
            match result {
                Ok(count) => sent += count,
                Err(error) => return (Err(error), bufs),
            }
        }
        (Ok(()), bufs)
    }

    /// Waits until the writes of dropped futures are over.
    ///
    /// # Cancellation
    /// Safe.
    ///
    /// # Errors
    /// What became of a dropped write, once: see [`Self::write`].
    pub async fn flush(&self) -> io::Result<()> {
        self.start_write().await.map(drop)
    }

    /// Who receives here.
    #[inline]
    pub(super) fn by(&self) -> By<'_> {
        By { socket: &self.socket, flow: &self.flow }
    }

    pub(super) async fn start_write(&self) -> io::Result<crate::net::turn::Taken<'_>> {
        let turn = self.writer.take("write")?;
        if !self.transmit.is_idle() {
            poll_fn(|cx| self.transmit.poll_idle(cx)).await?;
        }
        Ok(turn)
    }

    /// Ends one direction or both, at once.
    ///
    /// # Errors
    /// `ResourceBusy` if a dropped write is still under way, which this would cut: [`Self::flush`]
    /// first. `NotConnected` if the connection is gone.
    pub fn shutdown(&self, how: Shutdown) -> io::Result<()> {
        if how != Shutdown::Read && !self.transmit.is_idle() {
            let text = "a write whose future was dropped is still being sent; flush first";
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        self.socket.system().shutdown(self.as_fd(), how)
    }

    /// Closes the connection after all that was written, and says how that went.
    ///
    /// Bytes that arrived and nobody read are dropped.
    ///
    /// # Cancellation
    /// The stream is closed all the same, as if it was dropped.
    ///
    /// # Errors
    /// What became of a dropped write; an error of `close(2)`.
    pub async fn close(self) -> io::Result<()> {
        let flushed = self.flush().await;
        // A reset by the peer is as good an end as any now.
        let _ = poll_fn(|cx| self.receive.borrow_mut().poll_disarm(cx)).await;
        let handle = self.socket.handle().clone();
        let fd = self.socket.fd.clone();
        drop(self);
        // Nothing is in flight, so this is the last holder. Only the poll of a relay that was dropped a
        // moment ago may still be on its way out: the socket closes with it.
        let closed = match fd.try_into_owned() {
            Ok(fd) => handle.submit(op::Close::new(fd)).await,
            Err(_) => Ok(()),
        };
        flushed.and(closed)
    }

    /// The address of the peer.
    ///
    /// # Errors
    /// `NotConnected` if the connection is gone.
    pub fn peer_addr(&self) -> io::Result<SocketAddr> {
        self.socket.system().peer_addr(self.as_fd())
    }

    /// The address of this side.
    ///
    /// # Errors
    /// Those of `getsockname(2)`.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.system().local_addr(self.as_fd())
    }

    /// Sends small writes at once (`TCP_NODELAY`), instead of waiting for the answer to earlier ones.
    ///
    /// # Errors
    /// Those of `setsockopt(2)`.
    pub fn set_nodelay(&self, nodelay: bool) -> io::Result<()> {
        self.socket.system().set_option(self.as_fd(), SocketOption::NoDelay(nodelay))
    }

    /// Whether small writes are sent at once.
    ///
    /// # Errors
    /// Those of `getsockopt(2)`.
    pub fn nodelay(&self) -> io::Result<bool> {
        self.socket.system().nodelay(self.as_fd())
    }

    /// Gives the socket to the standard library; it is in blocking mode.
    ///
    /// # Errors
    /// The stream itself, if bytes wait in it, or if the kernel works for it: they would be lost.
    /// That is so once it was read from; a stream that was never read can always be converted.
    pub fn into_std(self) -> Result<std::net::TcpStream, IntoStdError> {
        let busy = {
            let receive = self.receive.borrow();
            receive.is_armed() || receive.has_arrived() || !self.transmit.is_idle()
        };
        if busy {
            return Err(IntoStdError { stream: self });
        }
        let fd = self.socket.fd.clone();
        drop(self);
        match fd.try_into_owned() {
            Ok(fd) => {
                let stream = std::net::TcpStream::from(fd);
                // A relay may have left it in the other mode. It cannot fail for a socket.
                let _ = stream.set_nonblocking(false);
                Ok(stream)
            }
            Err(shared) => Err(IntoStdError { stream: Self::adopt_shared(shared) }),
        }
    }

    fn adopt_shared(fd: SharedFd) -> Self {
        let socket = Socket { context: context::current(), fd };
        Self {
            socket,
            receive: RefCell::new(Receive::new()),
            transmit: Transmit::new(),
            sends: Sends::default(),
            flow: Cell::new(Flow::new()),
            reader: Turn::default(),
            writer: Turn::default(),
        }
    }
}

/// The stream could not be converted: bytes wait in it, or the kernel works for it.
#[derive(Debug)]
pub struct IntoStdError {
    /// The stream, as it was.
    pub stream: TcpStream,
}

impl std::fmt::Display for IntoStdError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(
            "the stream was read from, or written to, by futures that were dropped: bytes would be lost",
        )
    }
}

impl std::error::Error for IntoStdError {}

impl Drop for TcpStream {
    fn drop(&mut self) {
        if !self.transmit.is_idle() {
            // The operation keeps socket and bytes; a peer that reads nothing must not keep them for ever.
            // If it fails, the connection is gone already.
            let limit = SocketOption::UserTimeout(FLUSH_TIME_MAX);
            let _ = self.socket.system().set_option(self.as_fd(), limit);
        }
    }
}

impl From<std::net::TcpStream> for TcpStream {
    /// # Panics
    /// Outside of a runtime.
    fn from(stream: std::net::TcpStream) -> Self {
        // A socket in non-blocking mode would answer EAGAIN where the ring should wait. It fails for
        // descriptors that are no sockets only, which a `TcpStream` is not.
        let _ = stream.set_nonblocking(false);
        Self::adopt(stream.into())
    }
}

impl From<OwnedFd> for TcpStream {
    /// # Panics
    /// Outside of a runtime.
    fn from(fd: OwnedFd) -> Self {
        Self::from(std::net::TcpStream::from(fd))
    }
}

impl AsFd for TcpStream {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.fd.as_fd()
    }
}

impl std::fmt::Debug for TcpStream {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TcpStream")
            .field("fd", &self.socket.fd)
            .field("peer", &self.peer_addr().ok())
            .finish()
    }
}
