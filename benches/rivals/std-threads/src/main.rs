//! No runtime: a thread per connection, blocking calls.
//!
//! A proxy has two threads per connection. `std::io::copy` between sockets is `splice(2)` on Linux; with
//! `--buffer` the bytes go through a buffer of that size instead.

use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::ExitCode;
use std::thread;

use rival_options::{Common, Outcome, Ready, Service};

fn main() -> ExitCode {
    rival_options::run_per_thread(false, serve)
}

fn serve(common: &Common, listener: TcpListener, ready: Ready) -> Outcome {
    let (service, buffer, size) = (common.service(), common.buffer, common.buffer_or_default());
    ready.now()?;
    loop {
        let (stream, _) = listener.accept()?;
        // No thread to be had, or an error on a connection: that connection ends.
        let _ = thread::Builder::new().spawn(move || match service {
            Service::Echo => copy(&stream, &stream, Some(size)),
            Service::Sink => copy(&stream, &mut io::sink(), Some(size)),
            Service::Proxy(to) => proxy(&stream, to, buffer),
        });
    }
}

fn proxy(near: &TcpStream, to: SocketAddr, buffer: Option<usize>) -> io::Result<()> {
    let far = TcpStream::connect(to)?;
    far.set_nodelay(true)?;
    thread::scope(|scope| {
        scope.spawn(|| one_way(near, &far, buffer));
        one_way(&far, near, buffer);
    });
    Ok(())
}

/// Copies until the end of `from` and passes it on; an error ends both directions.
fn one_way(from: &TcpStream, to: &TcpStream, buffer: Option<usize>) {
    let how = match copy(from, to, buffer) {
        Ok(()) => Shutdown::Write,
        Err(_) => {
            // It fails only for a connection that is gone.
            let _ = from.shutdown(Shutdown::Both);
            Shutdown::Both
        }
    };
    let _ = to.shutdown(how);
}

fn copy(mut from: &TcpStream, mut to: impl Write, buffer: Option<usize>) -> io::Result<()> {
    let Some(size) = buffer else { return io::copy(&mut from, &mut to).map(drop) };
    let mut buffer = vec![0; size];
    loop {
        let count = from.read(&mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        to.write_all(&buffer[..count])?;
    }
}
