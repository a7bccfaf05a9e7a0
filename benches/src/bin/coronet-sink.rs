//! A server on Coronet that receives and forgets, on every core: what one-way streams are measured with.
//!
//! The command line of all measured programs as far as it fits; `--cores` is another word for `--threads`.

use std::error::Error;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};

use clap::Parser;
use coronet::net::{ListenOptions, TcpListener};
use coronet::{Backend, Cores, Runtime};
use rival_options::{Outcome, Ready};

/// Receives and forgets, on Coronet.
#[derive(Parser, Debug)]
struct Options {
    /// Where to listen; port 0 picks a free one.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Cores, each with a listener of its own.
    #[arg(long, alias = "threads", default_value = "1")]
    cores: std::num::NonZeroU16,
    /// The backend: auto, uring or epoll.
    #[arg(long, value_name = "BACKEND", default_value = "auto")]
    backend: Backend,
}

fn main() -> ExitCode {
    rival_options::run(serve)
}

fn serve(options: Options) -> Outcome {
    let cores = usize::from(options.cores.get());
    let sockets = ListenOptions::default().bind_group(options.listen, cores)?;
    let ready = Ready::new(sockets[0].local_addr()?, cores);
    let sockets = Arc::new(Mutex::new(sockets));
    let running =
        Cores::count(cores).builder(Runtime::builder().backend(options.backend)).start(move |_| {
            let socket = sockets.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let ready = ready.clone();
            async move { accept(TcpListener::from(socket.expect("one for each core")), ready).await }
        })?;
    for result in running.join() {
        result.map_err(|error| Box::<dyn Error>::from(error.to_string()))??;
    }
    Ok(())
}

async fn accept(listener: TcpListener, ready: Ready) -> io::Result<()> {
    ready.now()?;
    loop {
        let (stream, _) = listener.accept().await?;
        coronet::spawn(async move {
            // An error ends one connection and is no news.
            while stream.recv().await.is_ok_and(|bytes| !bytes.is_empty()) {}
        });
    }
}
