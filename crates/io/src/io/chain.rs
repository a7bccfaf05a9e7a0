//! One source after the other.

use super::AsyncRead;
use crate::buf::{BufResult, IoBufMut};

/// A source that goes on with a second one where the first ends; made by
/// [`AsyncReadExt::chain`](super::AsyncReadExt::chain).
#[derive(Debug)]
pub struct Chain<A, B> {
    first: A,
    second: B,
    first_ended: bool,
}

impl<A, B> Chain<A, B> {
    pub(super) fn new(first: A, second: B) -> Self {
        Self { first, second, first_ended: false }
    }

    /// Gives both sources back.
    pub fn into_inner(self) -> (A, B) {
        (self.first, self.second)
    }
}

impl<A: AsyncRead, B: AsyncRead> AsyncRead for Chain<A, B> {
    async fn read<T: IoBufMut>(&mut self, mut buf: T) -> BufResult<usize, T> {
        if !self.first_ended {
            // Without room, zero would not mean the end.
            if buf.spare().is_empty() {
                return (Ok(0), buf);
            }
            let (result, back) = self.first.read(buf).await;
            if !matches!(result, Ok(0)) {
                return (result, back);
            }
            self.first_ended = true;
            buf = back;
        }
        self.second.read(buf).await
    }
}
