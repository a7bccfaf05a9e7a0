//! A file into a stream, without its bytes entering the process.
//!
//! `sendfile(2)` moves what is in memory; it would wait for a disk as well as for the socket, and with it the
//! whole core. So each piece is looked at before: what is not in memory is read by the ring, which waits for
//! disks, and sent from there. That reads ahead, so that the next pieces are in memory again.

use std::io;
use std::os::fd::AsFd;

use coronet_ring::SharedFd;

use super::TcpStream;
use super::direct::{Mode, is_no_way, ready};
use super::transmit::Sending;
use crate::op;

/// Bytes of one piece. Only its first and last page are looked at: the kernel reads ahead, and drops, in runs
/// that are about as long.
const PIECE_BYTES: u64 = 256 * 1024;
/// Pieces in a row after which others have a turn, if the socket never made us wait.
const PIECES_IN_A_ROW: u8 = 4;
/// Polls in a row that promised room where there was none: then bytes are copied.
const FRUITLESS_MAX: u8 = 4;

impl TcpStream {
    /// Sends `len` bytes of a file from `offset` on, or as many as it has; how many it were.
    ///
    /// What is in memory does not enter the process: at 256 MiB from the page cache that takes a quarter of the
    /// CPU of reading and writing. What is not is read by the ring, so no other task waits for the disk.
    ///
    /// The file is any that can be read at a position: `SharedFd::new(file.into())`, once, for all who send it.
    ///
    /// # Cancellation
    /// Safe. What was sent is sent, in order and without a gap, and the next write comes behind it; how much it was,
    /// nobody says. The file has no position that could have moved.
    ///
    /// # Kernel
    /// Bytes are copied where the program does not ignore SIGPIPE (as Rust programs do unless told otherwise),
    /// something forbids `sendfile(2)`, or the file system cannot say what is in memory.
    ///
    /// # Errors
    /// As for [`write`](Self::write), and those of reading the file. How much was sent before is not known.
    /// `InvalidInput` if the last byte has no number that fits into 63 bits.
    ///
    /// # Examples
    /// ```
    /// # use coronet_io::net::TcpStream;
    /// # async fn demo(peer: TcpStream) -> std::io::Result<()> {
    /// let file = std::fs::File::open("index.html")?;
    /// let len = file.metadata()?.len();
    /// let file = coronet_ring::SharedFd::new(file.into());
    /// let sent = peer.send_file(&file, 0, len).await?;
    /// assert!(sent <= len, "somebody may have cut it off meanwhile");
    /// # Ok(()) }
    /// ```
    pub async fn send_file(&self, file: &SharedFd, offset: u64, len: u64) -> io::Result<u64> {
        if offset.checked_add(len).is_none_or(|end| i64::try_from(end).is_err()) {
            let text = format!("no file has {len} bytes from {offset} on");
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let _writing = self.start_write().await?;
        let socket = &self.socket;
        let can_move = socket.context.pipes().can_splice(socket.system());
        let mut way = if can_move { Some(Mode::choose(socket)?) } else { None };
        let (mut sent, mut pieces, mut fruitless) = (0, 0, 0);
        while sent < len {
            let piece = Piece { file, at: offset + sent, bytes: (len - sent).min(PIECE_BYTES) };
            let moved = match way {
                Some(mode) if piece.is_cached(self) => match piece.go(self, mode) {
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        fruitless += 1;
                        if fruitless > FRUITLESS_MAX {
                            way = None;
                        }
                        ready(socket, libc::POLLOUT).await?;
                        pieces = 0;
                        continue;
                    }
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) if is_no_way(&error) => {
                        way = None;
                        continue;
                    }
                    moved => moved?,
                },
                Some(_) | None => piece.be_copied(self).await?,
            };
            if moved == 0 {
                break;
            }
            fruitless = 0;
            sent += moved;
            pieces += 1;
            if pieces == PIECES_IN_A_ROW {
                pieces = 0;
                ready(socket, libc::POLLOUT).await?;
            }
        }
        Ok(sent)
    }
}

/// A part of a file.
struct Piece<'a> {
    file: &'a SharedFd,
    at: u64,
    bytes: u64,
}

impl Piece<'_> {
    fn is_cached(&self, to: &TcpStream) -> bool {
        let system = to.socket.system();
        let is_cached = |at| system.is_cached(self.file.as_fd(), at);
        is_cached(self.at) && is_cached(self.at + self.bytes - 1)
    }

    /// Goes as far as the socket has room.
    fn go(&self, to: &TcpStream, mode: Mode) -> io::Result<u64> {
        let moved = mode.without_waiting(&to.socket, || {
            to.socket.system().send_file(to.as_fd(), self.file.as_fd(), self.at, self.bytes as usize)
        });
        moved.map(|moved| moved as u64)
    }

    /// By way of a buffer. Once its send began, it goes on if this is dropped.
    async fn be_copied(&self, to: &TcpStream) -> io::Result<u64> {
        let room = Vec::with_capacity(self.bytes as usize);
        let read = op::ReadAt::new(self.file.clone(), room, self.at);
        let (result, bytes) = to.socket.handle().submit(read).await;
        let count = result?;
        if count == 0 {
            return Ok(0);
        }
        let socket = to.transmit.take_socket(&to.socket, &to.sends);
        let send = op::SendVectored::new(socket, [bytes], libc::MSG_WAITALL);
        let (result, _) = Sending::new(to, to.socket.handle().submit(send), count).await;
        match result? {
            0 => Err(io::Error::new(io::ErrorKind::WriteZero, "the socket takes no more bytes")),
            // A short count comes before an error, which the next piece will meet.
            sent => Ok(sent as u64),
        }
    }
}
