//! Counters of the receive engines of one thread.

use std::cell::Cell;

/// How the streams of one thread receive: what changed, and how often.
#[derive(Debug, Default)]
pub struct Receives {
    /// Streams that began to be received in large pieces.
    pub(crate) to_stream: Cell<u64>,
    /// Streams that went back from there.
    pub(crate) to_messages: Cell<u64>,
    /// Receives into a buffer of the stream's own although there is a pool.
    pub(crate) without_pool: Cell<u64>,
    /// Times that a stream kept more of the pool than it may.
    pub(crate) over_budget: Cell<u64>,
    /// Receives that the kernel ended because the pool was empty.
    pub(crate) ran_dry: Cell<u64>,
}

impl Receives {
    /// Streams that began to be received in large pieces.
    pub fn to_stream(&self) -> u64 {
        self.to_stream.get()
    }

    /// Streams that went back from large pieces to messages.
    pub fn to_messages(&self) -> u64 {
        self.to_messages.get()
    }

    /// Times that a stream kept more of a pool that had to grow than one stream may.
    pub fn over_budget(&self) -> u64 {
        self.over_budget.get()
    }

    /// Receives into a buffer of the stream's own although there is a pool: it had none left for the stream.
    pub fn without_pool(&self) -> u64 {
        self.without_pool.get()
    }

    /// Receives that the kernel ended because the pool was empty.
    pub fn ran_dry(&self) -> u64 {
        self.ran_dry.get()
    }
}

/// One more.
pub(crate) fn count(counter: &Cell<u64>) {
    counter.set(counter.get() + 1);
}
