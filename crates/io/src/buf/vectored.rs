//! Several buffers that are sent as one message.
//!
//! It only names the bytes, in order; the vector of addresses that the kernel wants is
//! made by the operation, once the buffers have reached their final place.

use super::IoBuf;

/// A sequence of buffers whose bytes are sent one after the other.
///
/// # Examples
/// ```
/// use coronet_io::buf::IoVectoredBuf;
///
/// let message = ("Content-Length: 5\r\n\r\n", b"hello".to_vec());
/// assert_eq!(message.total_len(), 26);
/// assert_eq!(message.slices().last(), Some(&b"hello"[..]));
/// ```
pub trait IoVectoredBuf: 'static {
    /// The bytes of every buffer, in order; empty ones too.
    fn slices(&self) -> impl Iterator<Item = &[u8]>;

    /// The number of bytes in all buffers.
    ///
    /// # Panics
    /// If the number does not fit into a `usize`, which takes many views of one memory.
    fn total_len(&self) -> usize {
        self.slices().fold(0usize, |total, bytes| {
            total.checked_add(bytes.len()).expect("the buffers hold more bytes than can be counted")
        })
    }
}

impl<B: IoBuf> IoVectoredBuf for Vec<B> {
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(IoBuf::as_bytes)
    }
}

impl<B: IoBuf> IoVectoredBuf for Box<[B]> {
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(IoBuf::as_bytes)
    }
}

impl<B: IoBuf, const N: usize> IoVectoredBuf for [B; N] {
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        self.iter().map(IoBuf::as_bytes)
    }
}

macro_rules! tuples {
    ($(($($letter:ident $field:ident),+))+) => {$(
        impl<$($letter: IoBuf),+> IoVectoredBuf for ($($letter,)+) {
            fn slices(&self) -> impl Iterator<Item = &[u8]> {
                let ($($field,)+) = self;
                [$($field.as_bytes()),+].into_iter()
            }
        }
    )+};
}

tuples! {
    (A a)
    (A a, B b)
    (A a, B b, C c)
    (A a, B b, C c, D d)
}

/// What is left of a sequence after its first bytes were sent.
///
/// # Examples
/// ```
/// use coronet_io::buf::{IoVectoredBuf, Unsent};
///
/// let rest = Unsent::new(("head", "body"), 6);
/// assert!(rest.slices().eq([b"dy"]));
/// assert_eq!(rest.into_inner(), ("head", "body"));
/// ```
#[derive(Debug, Clone)]
pub struct Unsent<V> {
    bufs: V,
    sent: usize,
}

impl<V: IoVectoredBuf> Unsent<V> {
    /// Leaves out the first `sent` bytes of `bufs`; all of them if there are fewer.
    pub fn new(bufs: V, sent: usize) -> Self {
        Self { bufs, sent }
    }

    /// Gives the whole sequence back.
    pub fn into_inner(self) -> V {
        self.bufs
    }
}

impl<V: IoVectoredBuf> IoVectoredBuf for Unsent<V> {
    /// Leaves out the buffers of which nothing is left.
    fn slices(&self) -> impl Iterator<Item = &[u8]> {
        let mut to_skip = self.sent;
        self.bufs.slices().filter_map(move |bytes| {
            let skipped = to_skip.min(bytes.len());
            to_skip -= skipped;
            (skipped < bytes.len()).then(|| &bytes[skipped..])
        })
    }
}
