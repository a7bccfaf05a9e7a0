//! One direction of a relay while it carries bulk: from socket to socket through a pipe, so that no
//! byte enters the process.
//!
//! The ring tells when a socket has something, or has room; the moving itself is `splice(2)`. Through
//! the ring it would go to a worker thread, at several times the cost.
//!
//! What is in the pipe belongs to the stream it came from: whenever this ends, it goes back there, and
//! the next read gets it first. The end of a stream is left to `recv`: a splice says "nothing", too,
//! where urgent data is.

use std::future::poll_fn;
use std::io;

use super::super::TcpStream;
use super::super::direct::{Mode, is_no_way, ready};
use super::forward::Broken;
use super::way::{Traffic, Way};
use crate::pipes::{Pipe, is_refusal};

/// Polls in a row that promised more than there was: out of memory, or urgent data. Leases cope with it.
const FRUITLESS_MAX: u8 = 4;

/// Moves bytes until they come in small pieces, or the end of the stream, or until the system cannot.
///
/// # Cancellation
/// Safe. What was taken and not sent is with `from`.
pub(super) async fn carry(from: &TcpStream, to: &TcpStream, moved: &impl Fn(u64)) -> Result<(), Broken> {
    let _reading = from.reader.take("read").map_err(Broken::reading)?;
    let disarmed = poll_fn(|cx| from.receive.borrow_mut().poll_disarm(cx)).await;
    send_arrived(from, to, moved).await?;
    disarmed.map_err(Broken::reading)?;
    let _writing = to.start_write().await.map_err(Broken::writing)?;
    // Not for `from`: a splice out of a socket that may wait goes on with what arrives meanwhile.
    let mode = Mode::choose(&to.socket).map_err(Broken::writing)?;

    let mut traffic = Traffic::new(Way::Splice, usize::MAX);
    let mut fruitless = 0;
    while fruitless < FRUITLESS_MAX {
        ready(&from.socket, libc::POLLIN).await.map_err(Broken::reading)?;
        let Some(mut load) = Load::new(from) else { return Ok(()) };
        let count = match load.fill() {
            Ok(0) => return Ok(()),
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                fruitless += 1;
                continue;
            }
            Err(error) if is_no_way(&error) => return Ok(()),
            Err(error) => return Err(Broken::reading(error)),
        };
        fruitless = 0;
        while load.filled() > 0 && fruitless < FRUITLESS_MAX {
            match load.pour(to, mode) {
                Ok(0) => {
                    fruitless += 1;
                    ready(&to.socket, libc::POLLOUT).await.map_err(Broken::writing)?;
                }
                Ok(count) => {
                    fruitless = 0;
                    moved(count as u64);
                }
                Err(error) if is_no_way(&error) => return Ok(()),
                Err(error) => return Err(Broken::writing(error)),
            }
        }
        if traffic.carried(count) == Way::Lease {
            return Ok(());
        }
    }
    Ok(())
}

/// Sends what had arrived before the receive was disarmed.
async fn send_arrived(from: &TcpStream, to: &TcpStream, moved: &impl Fn(u64)) -> Result<(), Broken> {
    loop {
        let Some(lease) = from.receive.borrow_mut().arrived().take_up_to(usize::MAX) else { return Ok(()) };
        let count = lease.len() as u64;
        to.write_all(lease).await.0.map_err(Broken::writing)?;
        moved(count);
    }
}

/// A pipe on its way from one stream, until it is empty.
struct Load<'a> {
    from: &'a TcpStream,
    pipe: Option<Pipe>,
}

impl<'a> Load<'a> {
    fn new(from: &'a TcpStream) -> Option<Self> {
        let pipe = from.socket.context.pipes().take(from.socket.system())?;
        Some(Self { from, pipe: Some(pipe) })
    }

    fn filled(&self) -> usize {
        self.pipe.as_ref().map_or(0, Pipe::filled)
    }

    /// Takes what the stream has, which was polled for: nobody else reads, so it cannot block.
    fn fill(&mut self) -> io::Result<usize> {
        let Self { from, pipe: Some(pipe) } = self else { return Ok(0) };
        let filled = pipe.fill(from.socket.system(), from);
        self.heed(filled)
    }

    /// Gives `to` as much as it takes now; zero if it is full.
    fn pour(&mut self, to: &TcpStream, mode: Mode) -> io::Result<usize> {
        let Self { from, pipe: Some(pipe) } = self else { return Ok(0) };
        let system = from.socket.system();
        let poured = mode.without_waiting(&to.socket, || pipe.pour(system, to));
        let poured = self.heed(poured);
        match poured {
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(0),
            poured => poured,
        }
    }

    /// Remembers what the system will never do.
    fn heed(&self, result: io::Result<usize>) -> io::Result<usize> {
        result.inspect_err(|error| {
            if is_refusal(error) {
                self.from.socket.context.pipes().refuse();
            }
        })
    }
}

impl Drop for Load<'_> {
    fn drop(&mut self) {
        let Some(mut pipe) = self.pipe.take() else { return };
        if pipe.filled() > 0 {
            // The pipe is ours, and has them: reading cannot fail short of a filter that forbids it.
            if let Ok(bytes) = pipe.empty(self.from.socket.system()) {
                self.from.receive.borrow_mut().arrived().insert(0, coronet_ring::Lease::copy_of(&bytes));
            }
        }
        self.from.socket.context.pipes().give_back(pipe);
    }
}
