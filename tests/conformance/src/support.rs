//! What the bodies share: connections, bytes that show where they belong, buffers that are counted.

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::LazyLock;

use coronet::buf::IoBuf;
use coronet::net::{TcpListener, TcpStream};
use coronet::ring::{Handle, current};

/// What submits to the driver of this core.
pub(crate) fn handle() -> Handle {
    current().handle().clone()
}

/// A listener on a free port, and its address.
pub(crate) async fn listener() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    (listener, address)
}

/// Both ends of a connection.
pub(crate) async fn pair() -> (TcpStream, TcpStream) {
    let (listener, address) = listener().await;
    let (client, server) = coronet::join!(TcpStream::connect(address), listener.accept());
    (client.expect("it listens"), server.expect("a client").0)
}

/// Prime, so that no power-of-two mistake falls on the period.
const PRIME: usize = 251;
/// After so many bytes they begin again.
const PERIOD: usize = PRIME * 256;

/// One period and as much again, so that a piece of up to a period is one slice, wherever it begins: most of the
/// time of a simulated run would go into making bytes and looking at them, one by one.
static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
    // The second term tells apart what is a period of the first away.
    (0..2 * PERIOD).map(|position| (position % PRIME) as u8 ^ (position / PRIME) as u8).collect()
});

/// The bytes of a stream from `position` on: a piece that is lost, doubled or moved shows.
pub(crate) fn bytes_at(position: usize, len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend_from_slice(piece_at(position + bytes.len(), len - bytes.len()));
    }
    bytes
}

/// As many of the bytes from `position` on as are one slice.
fn piece_at(position: usize, len: usize) -> &'static [u8] {
    let start = position % PERIOD;
    &BYTES[start..start + len.min(PERIOD)]
}

/// Looks whether `bytes` are those from `position` on.
#[track_caller]
pub(crate) fn check(position: usize, bytes: &[u8]) {
    let mut at = 0;
    while at < bytes.len() {
        let expected = piece_at(position + at, bytes.len() - at);
        let found = &bytes[at..at + expected.len()];
        if found != expected {
            let wrong = found.iter().zip(expected).take_while(|(found, expected)| found == expected).count();
            panic!("the byte at {} is wrong", position + at + wrong);
        }
        at += expected.len();
    }
}

/// Reads to the end; the number of bytes, each in its place.
pub(crate) async fn read_all(stream: &TcpStream, from: usize) -> usize {
    let mut position = from;
    loop {
        let bytes = stream.recv().await.expect("no reset");
        if bytes.is_empty() {
            return position;
        }
        check(position, &bytes);
        position += bytes.len();
    }
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}

/// Buffers that are not dropped yet.
#[derive(Clone, Default)]
pub(crate) struct Census(Rc<Cell<usize>>);

impl Census {
    /// A buffer that is counted until it is dropped.
    pub(crate) fn buffer(&self, bytes: Vec<u8>) -> Counted {
        self.0.set(self.0.get() + 1);
        Counted { bytes, census: self.clone() }
    }

    pub(crate) fn alive(&self) -> usize {
        self.0.get()
    }
}

/// A buffer to send from, which is counted.
pub(crate) struct Counted {
    bytes: Vec<u8>,
    census: Census,
}

impl IoBuf for Counted {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.census.0.set(self.census.0.get() - 1);
    }
}
