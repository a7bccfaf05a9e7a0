//! Who waits for one direction of a descriptor, first come first served.
//!
//! Nearly always it is one, who stands in the watch itself: a descriptor among thousands costs
//! one line of the cache and no allocation.

use std::collections::VecDeque;

use crate::token::Token;

#[derive(Default)]
pub(super) struct Queue {
    first: Option<Token>,
    /// Boxed, because there is nearly never a second.
    #[expect(clippy::box_collection, reason = "one word instead of four")]
    others: Option<Box<VecDeque<Token>>>,
}

impl Queue {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none()
    }

    pub(super) fn first(&self) -> Option<Token> {
        self.first
    }

    pub(super) fn push(&mut self, token: Token) {
        match self.first {
            None => self.first = Some(token),
            Some(_) => self.others.get_or_insert_default().push_back(token),
        }
    }

    /// Takes `token` out, wherever it stands.
    pub(super) fn remove(&mut self, token: Token) {
        if self.first == Some(token) {
            self.first = self.others.as_mut().and_then(|others| others.pop_front());
        } else if let Some(others) = &mut self.others {
            others.retain(|waits| *waits != token);
        }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Token> {
        self.first.into_iter().chain(self.others.iter().flat_map(|others| others.iter().copied()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_came_first_is_first_also_when_others_leave() {
        let token = |slot| Token::new(slot, 1);
        let mut queue = Queue::default();
        assert!(queue.is_empty() && queue.first().is_none());
        for slot in 0..5 {
            queue.push(token(slot));
        }
        queue.remove(token(0));
        queue.remove(token(3));
        queue.remove(token(9));
        assert!(queue.iter().eq([1, 2, 4].map(token)));
        for slot in [1, 2, 4] {
            assert_eq!(queue.first(), Some(token(slot)));
            queue.remove(token(slot));
        }
        assert!(queue.is_empty());
    }
}
