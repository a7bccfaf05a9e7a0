//! A source that ends after a given number of bytes.
//!
//! It never takes more from the source below, so that one can be read on afterwards.

use super::AsyncRead;
use crate::buf::{BufResult, IoBufMut, Slice};

/// A source that ends after a given number of bytes; made by
/// [`AsyncReadExt::take`](super::AsyncReadExt::take).
#[derive(Debug)]
pub struct Take<R> {
    inner: R,
    left: u64,
}

impl<R> Take<R> {
    pub(super) fn new(inner: R, limit: u64) -> Self {
        Self { inner, left: limit }
    }

    /// How many bytes it may still hand out.
    pub fn limit(&self) -> u64 {
        self.left
    }

    /// The source below.
    pub fn get_ref(&self) -> &R {
        &self.inner
    }

    /// Gives the source below back, behind the bytes that were read.
    pub fn into_inner(self) -> R {
        self.inner
    }
}

impl<R: AsyncRead> AsyncRead for Take<R> {
    async fn read<B: IoBufMut>(&mut self, buf: B) -> BufResult<usize, B> {
        if self.left == 0 {
            return (Ok(0), buf);
        }
        let most = usize::try_from(self.left).unwrap_or(usize::MAX);
        let window = Slice::rest_of_room(buf, 0, most);
        let (result, window) = self.inner.read(window).await;
        if let Ok(count) = result {
            assert!(count <= most, "a read answered more bytes than there was room for");
            self.left -= count as u64;
        }
        (result, window.into_inner())
    }
}
