//! Smol: a `LocalExecutor` per thread under `block_on`, a task per connection.
//!
//! A proxy is `io::copy` in both directions (8 KiB), or a loop with a buffer of `--buffer` bytes.
//! The runtime has one reactor for the whole process, on whichever thread is free to run it.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener as StdListener};
use std::process::ExitCode;

use rival_options::{Common, Outcome, Ready, Service};
use smol::io::{AsyncReadExt, AsyncWriteExt};
use smol::net::{TcpListener, TcpStream};
use smol::{Async, LocalExecutor, future};

fn main() -> ExitCode {
    rival_options::run_per_thread(true, serve)
}

fn serve(common: &Common, listener: StdListener, ready: Ready) -> Outcome {
    let executor = LocalExecutor::new();
    smol::block_on(executor.run(accept(&executor, common, listener, ready)))
}

async fn accept(
    executor: &LocalExecutor<'static>,
    common: &Common,
    listener: StdListener,
    ready: Ready,
) -> Outcome {
    let listener = TcpListener::from(Async::new(listener)?);
    let (service, buffer, size) = (common.service(), common.buffer, common.buffer_or_default());
    ready.now()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let task = executor.spawn(async move {
            // An error ends one connection and is no news.
            let _ = match service {
                Service::Echo => copy(stream.clone(), stream, size).await,
                Service::Sink => sink(stream, size).await,
                Service::Proxy(to) => proxy(stream, to, buffer).await,
            };
        });
        task.detach();
    }
}

async fn copy(mut from: TcpStream, mut to: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = vec![0; size];
    loop {
        let count = from.read(&mut buffer).await?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count]).await?;
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
    let there = one_way(near.clone(), far.clone(), buffer);
    future::try_zip(there, one_way(far, near, buffer)).await?;
    Ok(())
}

/// Copies until the end of `from` and passes it on.
async fn one_way(from: TcpStream, to: TcpStream, buffer: Option<usize>) -> io::Result<()> {
    match buffer {
        None => smol::io::copy(from, to.clone()).await.map(drop)?,
        Some(size) => copy(from, to.clone(), size).await?,
    }
    to.shutdown(Shutdown::Write)
}
