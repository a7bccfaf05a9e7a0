//! What went of a send before it was submitted.
//!
//! A send that is tried at once may find room for a part of its bytes only. The rest is submitted, and its result is
//! to count both. That is seldom, so this is a list, and it is nearly always empty.

use crate::token::Token;

/// Bytes that went ahead of sends that are not over.
#[derive(Debug, Default)]
pub(super) struct Ahead(Vec<(Token, u32)>);

impl Ahead {
    /// So many bytes of `token` went.
    #[cold]
    pub(super) fn note(&mut self, token: Token, bytes: u32) {
        debug_assert!(bytes > 0 && self.of(token) == 0, "[token-unique] noted once");
        self.0.push((token, bytes));
    }

    /// The bytes that went ahead of `token`.
    #[inline]
    pub(super) fn of(&self, token: Token) -> u32 {
        self.0.iter().find(|(of, _)| *of == token).map_or(0, |(_, bytes)| *bytes)
    }

    /// As [`Self::of`], and forgets them.
    #[inline]
    pub(super) fn take(&mut self, token: Token) -> u32 {
        let bytes = self.of(token);
        if bytes > 0 {
            self.0.retain(|(of, _)| *of != token);
        }
        bytes
    }

    /// The result of a send that is over, with what went ahead. What was moved counts, and an error comes with the
    /// next call, as within the kernel.
    #[inline]
    pub(super) fn settle(&mut self, token: Token, result: i32) -> i32 {
        match self.take(token) {
            0 => result,
            bytes => result.max(0) + bytes as i32,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_ahead_counts_once_whether_the_rest_goes_or_fails() {
        let [first, second, other] = [1, 2, 3].map(Token::internal);
        let mut ahead = Ahead::default();
        ahead.note(first, 10);
        ahead.note(second, 20);
        assert_eq!([first, second, other].map(|token| ahead.of(token)), [10, 20, 0]);
        assert_eq!(ahead.settle(other, -libc::EPIPE), -libc::EPIPE);
        assert_eq!(ahead.settle(second, -libc::EPIPE), 20);
        assert_eq!(ahead.settle(second, -libc::EPIPE), -libc::EPIPE);
        assert_eq!(ahead.settle(first, 5), 15);
        assert!(ahead.0.is_empty());
    }
}
