//! An echo server, and the same with a bug that a fast network hides.

use std::io;
use std::os::fd::AsFd;

use coronet::net::{TcpListener, TcpStream};
use coronet::ring::{self, SharedFd, op};

/// How a connection is answered.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Echo {
    /// Sends once, with an operation of its own, and believes that all of it went.
    Careless,
    /// Sends until all of it went.
    Careful,
}

/// Answers every connection with what it says.
pub(crate) async fn serve(listener: TcpListener, echo: Echo) -> io::Result<()> {
    loop {
        let (stream, _peer) = listener.accept().await?;
        coronet::spawn(async move { answer(stream, echo).await });
    }
}

async fn answer(stream: TcpStream, echo: Echo) -> io::Result<()> {
    let socket = SharedFd::new(stream.as_fd().try_clone_to_owned()?);
    loop {
        let bytes = stream.recv().await?;
        if bytes.is_empty() {
            return Ok(());
        }
        match echo {
            Echo::Careful => stream.write_all(bytes).await.0?,
            Echo::Careless => {
                // The bug: without `MSG_WAITALL` the kernel may take a part only, and says so in the
                // count. With an empty send buffer and a few thousand bytes it nearly never does.
                let send = op::Send::new(socket.clone(), bytes, 0);
                let count = ring::current().handle().submit(send).await.result;
                count?;
            }
        }
    }
}
