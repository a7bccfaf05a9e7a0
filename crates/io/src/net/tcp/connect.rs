//! Opening a connection.

use std::io;
use std::net::SocketAddr;

use coronet_ring::SharedFd;
use socket2::SockAddr;

use super::TcpStream;
use crate::context;
use crate::net::resolve::{ToAddrs, lookup_host};
use crate::op;

impl TcpStream {
    /// Connects to the first address of `addr` that answers.
    ///
    /// # Cancellation
    /// Safe. A connection that is made all the same is closed.
    ///
    /// # Kernel
    /// 5.11.
    ///
    /// # Errors
    /// That of the last address that was tried, with the address in its text; those of
    /// [`lookup_host`].
    ///
    /// # Panics
    /// Outside of a runtime.
    pub async fn connect(addr: impl ToAddrs) -> io::Result<Self> {
        let mut refusal = None;
        for address in lookup_host(addr).await? {
            match connect_to(address).await {
                Ok(stream) => return Ok(stream),
                Err(error) => {
                    refusal =
                        Some(coronet_ring::error::named_with(format!("connect to {address}"), "", error));
                }
            }
        }
        Err(refusal
            .unwrap_or_else(|| io::Error::new(io::ErrorKind::InvalidInput, "no address to connect to")))
    }
}

async fn connect_to(address: SocketAddr) -> io::Result<TcpStream> {
    let fd = SharedFd::new(context::current().handle().system().tcp_socket(address)?);
    let connect = op::Connect::new(fd.clone(), &SockAddr::from(address));
    context::current().handle().submit(connect).await?;
    let fd = fd.try_into_owned().expect("the operation is over, and held the only other clone");
    Ok(TcpStream::adopt(fd))
}
