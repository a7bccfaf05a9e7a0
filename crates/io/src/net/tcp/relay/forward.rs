//! One direction of a relay, and the rule when it takes which way.

use std::io;
use std::net::Shutdown;

use super::super::TcpStream;
use super::bulk;
use super::way::{Traffic, Way};

/// Why one direction ended before its time.
#[derive(Debug)]
pub(super) struct Broken {
    pub(super) error: io::Error,
    /// The side that was written to failed, not the one that was read from.
    pub(super) is_write: bool,
}

impl Broken {
    pub(super) fn reading(error: io::Error) -> Self {
        Self { error, is_write: false }
    }

    pub(super) fn writing(error: io::Error) -> Self {
        Self { error, is_write: true }
    }
}

/// Sends to `to` all that comes from `from`, then the end.
pub(super) async fn forward(from: &TcpStream, to: &TcpStream, moved: impl Fn(u64)) -> Result<(), Broken> {
    // A dropped write goes before: behind it, a piece would wait in our hands.
    to.flush().await.map_err(Broken::writing)?;
    let largest = from.socket.context.piece_bytes_max();
    let mut traffic = Traffic::new(Way::Lease, largest);
    loop {
        let piece = from.recv().await.map_err(Broken::reading)?;
        let count = piece.len();
        if count == 0 {
            return match to.shutdown(Shutdown::Write) {
                // Gone already, and if that was no good end, the other direction knows.
                Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
                result => result.map_err(Broken::writing),
            };
        }
        to.write_all(piece).await.0.map_err(Broken::writing)?;
        moved(count as u64);
        if traffic.carried(count) == Way::Splice {
            traffic = Traffic::new(Way::Lease, largest);
            if from.socket.context.pipes().can_splice(from.socket.system()) {
                // Boxed: few connections ever carry bulk, and the others are to stay small.
                Box::pin(bulk::carry(from, to, &moved)).await?;
            }
        }
    }
}
