//! Tokio's scheduler of many threads: one listener, a task per connection, work is stolen.
//!
//! With `--threads 1` one worker runs all tasks; the thread that accepts is another one, as `block_on` has it,
//! so the accepting is a task of its own. A proxy is `copy_bidirectional`, with the runtime's own buffers
//! (8 KiB) unless `--buffer` is given.

use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;

use rival_options::{Common, Plain, Ready, Service};
use tokio::io::{AsyncReadExt, AsyncWriteExt, copy_bidirectional, copy_bidirectional_with_sizes};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;

fn main() -> ExitCode {
    rival_options::run(|Plain { common }| {
        let runtime = Builder::new_multi_thread().worker_threads(common.threads).enable_io().build()?;
        runtime.block_on(async { Ok(tokio::spawn(accept(common)).await??) })
    })
}

async fn accept(common: Common) -> io::Result<()> {
    // One listener for all workers: here the threads share the tasks, not the port.
    let listener = rival_options::listener(common.listen, true)?;
    let ready = Ready::new(listener.local_addr()?, 1);
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
