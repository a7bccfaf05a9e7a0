//! One reader and one writer at a time: a second one is an error, not a surprise.

use std::cell::Cell;
use std::io;

/// Whose turn it is.
#[derive(Debug, Default)]
pub(super) struct Turn(Cell<bool>);

/// Held by the one whose turn it is.
#[must_use]
pub(super) struct Taken<'a>(&'a Cell<bool>);

impl Turn {
    /// # Errors
    /// `ResourceBusy` while another future holds it.
    #[inline]
    pub(super) fn take(&self, what: &'static str) -> io::Result<Taken<'_>> {
        if self.0.replace(true) {
            let text = format!("another {what} of this socket is under way; one at a time");
            return Err(io::Error::new(io::ErrorKind::ResourceBusy, text));
        }
        Ok(Taken(&self.0))
    }

    /// Ends a turn that was [kept](Taken::keep).
    #[inline]
    pub(super) fn give_back(&self) {
        debug_assert!(self.0.get(), "somebody has the turn");
        self.0.set(false);
    }
}

impl Taken<'_> {
    /// Goes on until [`Turn::give_back`]: for futures that know it by their own state.
    #[inline]
    pub(super) fn keep(self) {
        std::mem::forget(self);
    }
}

impl Drop for Taken<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.set(false);
    }
}
