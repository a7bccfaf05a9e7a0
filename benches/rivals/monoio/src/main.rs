//! Monoio: a thread per core, its io_uring driver, a task per connection.
//!
//! The driver has 1024 entries, its default (`with_entries` advises more only for more operations per turn),
//! and no timer, since nothing here needs one. Its ring is plain by default; `uring_builder` takes any set-up, so
//! `--defer-taskrun` asks for SINGLE_ISSUER and DEFER_TASKRUN, which its documentation does not mention.
//! A proxy is `io::copy` on split streams (4 KiB), as its documentation has it; with `--buffer` the same
//! loop with that size, and with `--splice` its `zero_copy` (`splice` by the ring, 4 KiB at a time).

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::process::ExitCode;

use clap::Parser;
use monoio::io::{AsyncReadRent, AsyncWriteRent, AsyncWriteRentExt, Splitable};
use monoio::net::{TcpListener, TcpStream};
use monoio::{IoUringDriver, RuntimeBuilder};
use rival_options::{Common, Outcome, Ready, Service};

/// Monoio on io_uring.
#[derive(Parser, Debug)]
struct Options {
    #[command(flatten)]
    common: Common,
    /// Build the ring with SINGLE_ISSUER and DEFER_TASKRUN.
    #[arg(long)]
    defer_taskrun: bool,
    /// Let a proxy splice.
    #[arg(long, conflicts_with = "buffer")]
    splice: bool,
}

fn main() -> ExitCode {
    rival_options::run(|Options { common, defer_taskrun, splice }| {
        let shared = common.clone();
        common.serve(false, move |listener, ready| {
            let mut ring = io_uring::IoUring::builder();
            if defer_taskrun {
                ring.setup_single_issuer().setup_defer_taskrun();
            }
            let builder = RuntimeBuilder::<IoUringDriver>::new().with_entries(1024).uring_builder(ring);
            builder.build()?.block_on(accept(&shared, splice, listener, ready))
        })
    })
}

async fn accept(common: &Common, splice: bool, listener: StdListener, ready: Ready) -> Outcome {
    let listener = TcpListener::from_std(listener)?;
    let (service, buffer, size) = (common.service(), common.buffer, common.buffer_or_default());
    ready.now()?;
    loop {
        let (stream, _) = listener.accept().await?;
        monoio::spawn(async move {
            // An error ends one connection and is no news.
            let _ = match service {
                Service::Echo => echo(stream, size).await,
                Service::Sink => sink(stream, size).await,
                Service::Proxy(to) if splice => spliced(stream, to).await,
                Service::Proxy(to) => proxy(stream, to, buffer).await,
            };
        });
    }
}

async fn echo(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        let (count, filled) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        let (sent, filled) = stream.write_all(filled).await;
        sent?;
        buffer = filled;
        buffer.clear();
    }
}

async fn sink(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        let (count, filled) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        buffer = filled;
    }
}

async fn proxy(near: TcpStream, to: SocketAddr, buffer: Option<usize>) -> io::Result<()> {
    let far = connect(to).await?;
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let (there, back) = monoio::join!(
        one_way(&mut near_read, &mut far_write, buffer),
        one_way(&mut far_read, &mut near_write, buffer)
    );
    there.and(back)
}

async fn one_way(
    from: &mut impl AsyncReadRent,
    to: &mut impl AsyncWriteRent,
    buffer: Option<usize>,
) -> io::Result<()> {
    match buffer {
        None => drop(monoio::io::copy(from, to).await?),
        Some(size) => {
            let mut buffer = Vec::with_capacity(size);
            loop {
                let (count, filled) = from.read(buffer).await;
                if count? == 0 {
                    break;
                }
                let (sent, filled) = to.write_all(filled).await;
                sent?;
                buffer = filled;
                buffer.clear();
            }
        }
    }
    to.shutdown().await
}

async fn spliced(near: TcpStream, to: SocketAddr) -> io::Result<()> {
    let far = connect(to).await?;
    let (mut near_read, mut near_write) = near.into_split();
    let (mut far_read, mut far_write) = far.into_split();
    let there = async {
        monoio::io::zero_copy(&mut near_read, &mut far_write).await?;
        far_write.shutdown().await
    };
    let back = async {
        monoio::io::zero_copy(&mut far_read, &mut near_write).await?;
        near_write.shutdown().await
    };
    let (there, back) = monoio::join!(there, back);
    there.and(back)
}

async fn connect(to: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect_addr(to).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}
