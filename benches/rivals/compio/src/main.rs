//! Compio: a runtime per thread, its io_uring driver, a task per connection.
//!
//! The ring has 1024 entries, compio's default, and COOP_TASKRUN with TASKRUN_FLAG, of which its documentation
//! says that they help most programs. `--defer-taskrun` asks for SINGLE_ISSUER and DEFER_TASKRUN instead,
//! and `--multishot` lets an echo receive through `read_multi` on 128 pooled buffers.
//! A proxy is `copy_bidirectional` (8 KiB), with `--buffer` the same with those sizes.

use std::io;
use std::net::{SocketAddr, TcpListener as StdListener};
use std::num::NonZero;
use std::pin::pin;
use std::process::ExitCode;

use clap::{Args, Parser};
use compio::BufResult;
use compio::driver::ProactorBuilder;
use compio::io::util::{copy_bidirectional, copy_bidirectional_with_sizes};
use compio::io::{AsyncRead, AsyncReadMulti, AsyncWriteExt};
use compio::net::{TcpListener, TcpStream};
use compio::runtime::{Runtime, RuntimeBuilder};
use futures_util::StreamExt;
use rival_options::{Common, Outcome, Ready, Service};

/// How the runtime is set up.
#[derive(Args, Clone, Copy, Debug)]
struct Variant {
    /// Build the ring with SINGLE_ISSUER and DEFER_TASKRUN.
    #[arg(long)]
    defer_taskrun: bool,
    /// Let an echo receive by multishot, on pooled buffers.
    #[arg(long)]
    multishot: bool,
}

/// Compio on io_uring.
#[derive(Parser, Debug)]
struct Options {
    #[command(flatten)]
    common: Common,
    #[command(flatten)]
    variant: Variant,
}

fn main() -> ExitCode {
    rival_options::run(|Options { common, variant }| {
        let shared = common.clone();
        common.serve(false, move |listener, ready| {
            runtime(&shared, variant)?.block_on(accept(&shared, variant, listener, ready))
        })
    })
}

fn runtime(common: &Common, variant: Variant) -> io::Result<Runtime> {
    let mut ring = ProactorBuilder::new();
    if variant.defer_taskrun {
        ring.single_issuer(true).defer_taskrun(true).taskrun_flag(true);
    } else {
        ring.coop_taskrun(true).taskrun_flag(true);
    }
    if variant.multishot {
        let count = NonZero::new(128).expect("128 is not zero");
        ring.buffer_pool_size(count).buffer_pool_buffer_len(common.buffer_or_default());
    }
    RuntimeBuilder::new().with_proactor(ring).build()
}

async fn accept(common: &Common, variant: Variant, listener: StdListener, ready: Ready) -> Outcome {
    let listener = TcpListener::from_std(listener)?;
    let (service, buffer, size) = (common.service(), common.buffer, common.buffer_or_default());
    ready.now()?;
    loop {
        let (stream, _) = listener.accept().await?;
        let task = compio::runtime::spawn(async move {
            // An error ends one connection and is no news.
            let _ = match service {
                Service::Echo if variant.multishot => echo_multishot(&stream, size).await,
                Service::Echo => echo(&stream, size).await,
                Service::Sink => sink(stream, size).await,
                Service::Proxy(to) => proxy(&stream, to, buffer).await,
            };
        });
        task.detach();
    }
}

async fn echo(mut stream: &TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    while read_and_write(&mut stream, &mut buffer).await? > 0 {}
    Ok(())
}

async fn read_and_write(stream: &mut &TcpStream, buffer: &mut Vec<u8>) -> io::Result<usize> {
    let BufResult(count, filled) = stream.read(std::mem::take(buffer)).await;
    let count = count?;
    if count > 0 {
        let BufResult(sent, filled) = stream.write_all(filled).await;
        sent?;
        *buffer = filled;
        buffer.clear();
    }
    Ok(count)
}

async fn echo_multishot(mut stream: &TcpStream, size: usize) -> io::Result<()> {
    loop {
        if echo_pieces(stream).await? == Next::End {
            return Ok(());
        }
        // The pool is empty: one piece through a buffer of its own, then again.
        if read_and_write(&mut stream, &mut Vec::with_capacity(size)).await? == 0 {
            return Ok(());
        }
    }
}

/// How a multishot receive ended.
#[derive(PartialEq, Eq)]
enum Next {
    /// With the stream.
    End,
    /// Without a buffer.
    Starved,
}

async fn echo_pieces(mut stream: &TcpStream) -> io::Result<Next> {
    let mut receiver = stream;
    let mut pieces = pin!(receiver.read_multi(0));
    loop {
        match pieces.next().await {
            None => return Ok(Next::End),
            Some(Ok(piece)) => stream.write_all(piece).await.0?,
            Some(Err(error)) if error.kind() == io::ErrorKind::ResourceBusy => return Ok(Next::Starved),
            Some(Err(error)) => return Err(error),
        }
    }
}

async fn sink(mut stream: TcpStream, size: usize) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(size);
    loop {
        buffer.clear();
        let BufResult(count, filled) = stream.read(buffer).await;
        if count? == 0 {
            return Ok(());
        }
        buffer = filled;
    }
}

async fn proxy(near: &TcpStream, to: SocketAddr, buffer: Option<usize>) -> io::Result<()> {
    let far = &TcpStream::connect(to).await?;
    far.set_nodelay(true)?;
    let (there, back) = match buffer {
        None => copy_bidirectional(near, far).await,
        Some(size) => copy_bidirectional_with_sizes(near, far, size, size).await,
    };
    there.and(back).map(drop)
}
