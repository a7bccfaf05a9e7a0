//! Glommio: an executor per thread, a task per connection.
//!
//! Everything at its defaults: a ring of 128 entries, 10 MiB of registered buffers (they are for files, and count
//! against the limit of locked memory), no spinning before it parks, no placement (the process is pinned
//! from outside). Its streams try a system call first and wait by the ring if that would block.
//! A proxy is `copy` of futures-lite on split streams (8 KiB), with `--buffer` a loop with that size.
#![allow(unsafe_code, reason = "the runtime takes a listener that is set up elsewhere as a number only")]

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::os::fd::{FromRawFd, IntoRawFd};
use std::process::ExitCode;

use futures_lite::future;
use futures_lite::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, split};
use glommio::net::{TcpListener, TcpStream};
use glommio::{LocalExecutorBuilder, Placement};
use rival_options::{Common, Outcome, Ready, Service};

fn main() -> ExitCode {
    rival_options::run_per_thread(false, serve)
}

fn serve(common: &Common, listener: StdListener, ready: Ready) -> Outcome {
    let executor = LocalExecutorBuilder::new(Placement::Unbound).make().map_err(|error| error.to_string())?;
    executor.run(accept(common, listener, ready))
}

async fn accept(common: &Common, listener: StdListener, ready: Ready) -> Outcome {
    // SAFETY: [fd-adopted] the number comes out of its owner on this line, so nobody else closes it.
    let listener = unsafe { TcpListener::from_raw_fd(listener.into_raw_fd()) };
    let (service, buffer, size) = (common.service(), common.buffer, common.buffer_or_default());
    ready.now()?;
    loop {
        let stream = listener.accept().await.map_err(io::Error::from)?;
        let task = glommio::spawn_local(async move {
            // An error ends one connection and is no news.
            let _ = match service {
                Service::Echo => echo(stream, size).await,
                Service::Sink => sink(stream, size).await,
                Service::Proxy(to) => proxy(stream, to, buffer).await,
            };
        });
        task.detach();
    }
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = stream.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        stream.write_all(&buffer[..count]).await?;
    }
}

async fn sink(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    while stream.read(&mut buffer).await? > 0 {}
    Ok(())
}

async fn proxy(near: TcpStream, to: SocketAddr, buffer: Option<usize>) -> io::Result<()> {
    let far = TcpStream::connect(to).await?;
    far.set_nodelay(true)?;
    let (near_read, near_write) = split(near);
    let (far_read, far_write) = split(far);
    let there = one_way(near_read, far_write, buffer);
    let back = one_way(far_read, near_write, buffer);
    future::try_zip(there, back).await?;
    Ok(())
}

/// Copies until the end of `from` and passes it on.
async fn one_way(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    buffer: Option<usize>,
) -> io::Result<()> {
    match buffer {
        None => drop(copy(&mut from, &mut to).await?),
        Some(size) => {
            let mut buffer = vec![0; size];
            loop {
                let count = from.read(&mut buffer).await?;
                if count == 0 {
                    break;
                }
                to.write_all(&buffer[..count]).await?;
            }
        }
    }
    to.close().await
}
