//! Tokio, one scheduler per thread: `new_current_thread`, a task per connection.
//!
//! A proxy is `copy_bidirectional`, with the runtime's own buffers (8 KiB) unless `--buffer` is given.

use std::error::Error;
use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::process::ExitCode;

use rival_options::{Common, Outcome, Ready, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    rival_options::run_per_thread(true, serve)
}

fn serve(common: &Common, listener: StdListener, ready: Ready) -> Outcome {
    let runtime = Builder::new_current_thread().enable_io().build()?;
    runtime.block_on(accept(common, listener, ready))
}

async fn accept(common: &Common, listener: StdListener, ready: Ready) -> Result<(), Box<dyn Error>> {
    let listener = TcpListener::from_std(listener)?;
    let (service, buffer, size) = (common.service(), common.buffer, common.buffer_or_default());
    ready.now()?;
    loop {
        let (stream, _) = listener.accept().await?;
        tokio::spawn(async move {
            // An error ends one connection and is no news.
            let _ = match service {
                Service::Echo => echo(stream, size).await,
                Service::Sink => sink(stream, size).await,
                Service::Proxy(to) => proxy(stream, to, buffer).await,
            };
        });
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

async fn proxy(mut near: TcpStream, to: SocketAddr, buffer: Option<usize>) -> io::Result<()> {
    let mut far = TcpStream::connect(to).await?;
    far.set_nodelay(true)?;
    match buffer {
        None => copy_bidirectional(&mut near, &mut far).await?,
        Some(size) => copy_bidirectional_with_sizes(&mut near, &mut far, size, size).await?,
    };
    Ok(())
}
