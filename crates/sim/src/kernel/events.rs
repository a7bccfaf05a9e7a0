//! What is going to happen, by time. Events of the same time come in an order of the tape's choice.

use std::collections::BTreeMap;
use std::time::Duration;

use super::objects::ObjectId;
use super::ops::OpId;

/// Something that happens at a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    /// Look whether an operation can do its work, or more of it.
    Attempt(OpId),
    /// Post the result of an operation that is done.
    Post(OpId),
    /// The network is done with the memory of a zero-copy send.
    Notify(OpId),
    /// A cancelled operation ends, unless it was done meanwhile.
    CancelEnds(OpId),
    /// A request for a connection arrives.
    Syn(ObjectId),
    /// Its answer arrives.
    SynAck(ObjectId),
    /// Its refusal arrives.
    Refused(ObjectId, i32),
    /// Segments of this sender may have arrived.
    Wire(ObjectId),
    /// The peer of this socket has reset it.
    Reset(ObjectId),
    /// See whether the peer took something in the meantime.
    UserTimeout(ObjectId),
}

#[derive(Debug, Default)]
pub(crate) struct Events {
    queue: BTreeMap<(Duration, u64, u64), Event>,
    count: u64,
}

impl Events {
    pub(crate) fn add(&mut self, at: Duration, tie: u64, event: Event) {
        self.count += 1;
        self.queue.insert((at, tie, self.count), event);
    }

    pub(crate) fn next_at(&self) -> Option<Duration> {
        self.queue.first_key_value().map(|((at, _, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Duration) -> Option<Event> {
        let entry = self.queue.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }
}
