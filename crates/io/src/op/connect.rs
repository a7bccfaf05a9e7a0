//! Connecting a socket.

use std::io;
use std::os::fd::AsFd;

use coronet_ring::{Done, Op, Request, SharedFd, Span};
use socket2::SockAddr;

/// Connects a stream socket.
pub struct Connect {
    socket: SharedFd,
    /// `sockaddr` as bytes: what the kernel reads.
    address: AddressBytes,
}

/// The largest address we connect to: `sockaddr_un`, 110 bytes.
type AddressBytes = ([u8; 112], usize);

impl Connect {
    /// Connects `socket` to `address`.
    ///
    /// # Panics
    /// If the address is of a family with more than 112 bytes.
    pub fn new(socket: SharedFd, address: &SockAddr) -> Self {
        let mut bytes = [0; 112];
        let len = address.len() as usize;
        assert!(len <= bytes.len(), "an address of {len} bytes");
        bytes[..len].copy_from_slice(address_bytes(address));
        Self { socket, address: (bytes, len) }
    }
}

#[allow(unsafe_code, reason = "reads a socket address as the bytes that the kernel reads")]
fn address_bytes(address: &SockAddr) -> &[u8] {
    // SAFETY: [addr-init] a `SockAddr` holds `len` initialised bytes of a `sockaddr_storage`.
    unsafe { std::slice::from_raw_parts(address.as_ptr().cast::<u8>(), address.len() as usize) }
}

impl Op for Connect {
    type Output = io::Result<()>;

    fn request(&mut self) -> Request<'_> {
        let (bytes, len) = &self.address;
        Request::Connect { socket: self.socket.as_fd(), address: Span::new(&bytes[..*len]) }
    }

    fn finish(self, done: Done<Self>) -> Self::Output {
        done.value().map(drop)
    }
}

impl std::fmt::Debug for Connect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Connect").field("socket", &self.socket).finish_non_exhaustive()
    }
}
