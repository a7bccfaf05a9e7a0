//! From names to addresses. Literal addresses cost nothing; names are looked up on a
//! thread of their own, because the C library's resolver blocks.

use std::future::poll_fn;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Poll, Waker};

use crate::context;

/// What can be turned into socket addresses: an address, `"127.0.0.1:80"`, `("localhost", 80)`.
pub trait ToAddrs {
    /// The addresses themselves, or the name to look up.
    fn to_addrs(&self) -> Addrs;
}

/// Addresses, or a name and port to look up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Addrs {
    /// Nothing to look up.
    Known(Vec<SocketAddr>),
    /// `host:port`, as the resolver takes it.
    Name(String),
}

impl ToAddrs for SocketAddr {
    fn to_addrs(&self) -> Addrs {
        Addrs::Known(vec![*self])
    }
}

impl ToAddrs for [SocketAddr] {
    fn to_addrs(&self) -> Addrs {
        Addrs::Known(self.to_vec())
    }
}

macro_rules! with_port {
    ($($address:ty),+) => {$(
        impl ToAddrs for ($address, u16) {
            fn to_addrs(&self) -> Addrs {
                Addrs::Known(vec![SocketAddr::new(self.0.into(), self.1)])
            }
        }
    )+};
}

with_port!(IpAddr, Ipv4Addr, Ipv6Addr, [u8; 4]);

impl ToAddrs for (&str, u16) {
    fn to_addrs(&self) -> Addrs {
        match self.0.parse() {
            Ok(ip) => Addrs::Known(vec![SocketAddr::new(ip, self.1)]),
            Err(_) => Addrs::Name(format!("{}:{}", self.0, self.1)),
        }
    }
}

impl ToAddrs for str {
    fn to_addrs(&self) -> Addrs {
        match self.parse() {
            Ok(address) => Addrs::Known(vec![address]),
            Err(_) => Addrs::Name(self.to_owned()),
        }
    }
}

impl ToAddrs for String {
    fn to_addrs(&self) -> Addrs {
        self.as_str().to_addrs()
    }
}

impl<T: ToAddrs + ?Sized> ToAddrs for &T {
    fn to_addrs(&self) -> Addrs {
        (**self).to_addrs()
    }
}

/// Looks a name up with the system's resolver, off this thread.
///
/// # Cancellation
/// Safe. The look-up goes on unseen, and its answer is dropped.
///
/// # Errors
/// `InvalidInput` for a text that is no `host:port`; what the resolver says; `NotFound` if
/// it knows no address.
///
/// # Examples
/// ```
/// # async fn demo() -> std::io::Result<()> {
/// let addresses = coronet_io::net::lookup_host("localhost:80").await?;
/// assert!(addresses.iter().all(|address| address.port() == 80));
/// # Ok(()) }
/// ```
pub async fn lookup_host(host: impl ToAddrs) -> io::Result<Vec<SocketAddr>> {
    let name = match host.to_addrs() {
        Addrs::Known(addresses) => return Ok(addresses),
        Addrs::Name(name) => name,
    };
    let addresses = look_up(name.clone()).await.map_err(|error| {
        let text = format!("cannot find an address for {name:?}: {error}");
        io::Error::new(error.kind(), text)
    })?;
    if addresses.is_empty() {
        return Err(io::Error::new(io::ErrorKind::NotFound, format!("no address for {name:?}")));
    }
    Ok(addresses)
}

#[derive(Default)]
struct Answer {
    addresses: Option<io::Result<Vec<SocketAddr>>>,
    waiting: Option<Waker>,
}

async fn look_up(name: String) -> io::Result<Vec<SocketAddr>> {
    let known = context::try_current().and_then(|context| context.handle().system().look_up(&name));
    if let Some(addresses) = known {
        return addresses;
    }
    let answer = Arc::new(Mutex::new(Answer::default()));
    let theirs = answer.clone();
    std::thread::Builder::new().name("coronet-resolver".to_owned()).spawn(move || {
        let addresses = name.to_socket_addrs().map(Iterator::collect);
        let mut answer = theirs.lock().unwrap_or_else(PoisonError::into_inner);
        answer.addresses = Some(addresses);
        let waiting = answer.waiting.take();
        drop(answer);
        if let Some(waker) = waiting {
            waker.wake();
        }
    })?;
    poll_fn(|cx| {
        let mut answer = answer.lock().unwrap_or_else(PoisonError::into_inner);
        match answer.addresses.take() {
            Some(addresses) => Poll::Ready(addresses),
            None => {
                answer.waiting = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn literal_addresses_are_not_looked_up() {
        let known = |port| Addrs::Known(vec![SocketAddr::from(([127, 0, 0, 1], port))]);
        assert_eq!("127.0.0.1:80".to_addrs(), known(80));
        assert_eq!(("127.0.0.1", 81).to_addrs(), known(81));
        assert_eq!(([127, 0, 0, 1], 82).to_addrs(), known(82));
        assert_eq!("localhost:80".to_addrs(), Addrs::Name("localhost:80".to_owned()));
        assert_eq!("nonsense".to_addrs(), Addrs::Name("nonsense".to_owned()));
    }
}
