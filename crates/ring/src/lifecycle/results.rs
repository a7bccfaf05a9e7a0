//! Completions that wait to be taken: nearly always none or one.

use std::collections::VecDeque;

use crate::completion::Completion;

/// A queue whose first place costs no allocation. Small, because every operation has one.
#[derive(Debug, Default)]
pub(crate) struct Results {
    first: Option<Completion>,
    #[expect(clippy::box_collection, reason = "one word while it is empty, which is nearly always")]
    rest: Option<Box<VecDeque<Completion>>>,
}

impl Results {
    #[inline]
    pub(crate) fn push(&mut self, done: Completion) {
        if self.first.is_none() {
            self.first = Some(done);
        } else {
            self.rest.get_or_insert_default().push_back(done);
        }
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        usize::from(self.first.is_some()) + self.rest.as_ref().map_or(0, |rest| rest.len())
    }

    /// The oldest, which stays.
    #[inline]
    pub(crate) fn oldest(&mut self) -> Option<&mut Completion> {
        self.first.as_mut()
    }

    #[inline]
    pub(crate) fn pop(&mut self) -> Option<Completion> {
        let oldest = self.first.take()?;
        if let Some(rest) = &mut self.rest {
            self.first = rest.pop_front();
        }
        Some(oldest)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn completions_leave_in_the_order_they_came() {
        let mut results = Results::default();
        for result in 0..5 {
            results.push(Completion::new(result, 0));
        }
        let taken: Vec<_> = std::iter::from_fn(|| results.pop()).map(|done| done.result).collect();
        assert_eq!(taken, [0, 1, 2, 3, 4]);
        results.push(Completion::new(9, 0));
        assert_eq!(results.pop().map(|done| done.result), Some(9));
    }
}
