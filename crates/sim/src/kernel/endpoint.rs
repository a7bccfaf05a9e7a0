//! One TCP socket: plain data, and what it answers when it is asked for bytes or room.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::time::Duration;

use super::objects::ObjectId;

/// What travels from one socket to the other, in order.
#[derive(Debug)]
pub(crate) enum Segment {
    /// The end of the handshake.
    Ack,
    Data(Vec<u8>),
    Fin,
}

#[derive(Debug)]
pub(crate) enum Phase {
    /// Neither connected nor listening.
    Fresh,
    Listening {
        /// Connections that wait to be accepted.
        queue: VecDeque<ObjectId>,
        /// Handshakes that are not over.
        pending: usize,
        backlog: usize,
    },
    Connecting {
        tries: u32,
    },
    /// Made by a listener; the peer has not answered yet.
    Handshake {
        listener: ObjectId,
    },
    Connected,
    /// Reset, or given up.
    Dead,
}

#[derive(Debug)]
pub(crate) struct Endpoint {
    pub(crate) phase: Phase,
    pub(crate) local: Option<SocketAddr>,
    pub(crate) remote: Option<SocketAddr>,
    pub(crate) peer: Option<ObjectId>,
    /// Came out of a listener, whose port it shares.
    pub(crate) is_child: bool,
    /// Arrived in order, and nobody has received it.
    pub(crate) inbox: VecDeque<u8>,
    pub(crate) inbox_max: usize,
    /// Taken from the program, and not on its way yet.
    pub(crate) outbox: VecDeque<u8>,
    pub(crate) outbox_max: usize,
    /// On its way to the peer, with the time of arrival.
    pub(crate) wire: VecDeque<(Duration, Segment)>,
    pub(crate) in_flight: usize,
    pub(crate) wire_scheduled: bool,
    /// When the peer last took something.
    pub(crate) progress_at: Duration,
    pub(crate) write_shut: bool,
    pub(crate) fin_sent: bool,
    pub(crate) fin_received: bool,
    pub(crate) read_shut: bool,
    /// No descriptor refers to it any more.
    pub(crate) is_closed: bool,
    /// Reported once.
    pub(crate) error: Option<i32>,
    pub(crate) nodelay: bool,
    pub(crate) reuse_port: bool,
    pub(crate) user_timeout: Option<Duration>,
    /// Whether zero-copy sends are copied, once one was tried.
    pub(crate) copies: Option<bool>,
    /// `SO_LINGER` of zero: closing resets the connection.
    pub(crate) resets_on_close: bool,
}

/// What a socket answers to somebody who wants bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Readable {
    Bytes(usize),
    End,
    Error(i32),
    NotYet,
}

/// What a socket answers to somebody who has bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Writable {
    Room(usize),
    Error(i32),
    NotYet,
}

impl Endpoint {
    pub(crate) fn new(inbox_max: usize, outbox_max: usize) -> Self {
        Self {
            phase: Phase::Fresh,
            local: None,
            remote: None,
            peer: None,
            is_child: false,
            inbox: VecDeque::new(),
            inbox_max,
            outbox: VecDeque::new(),
            outbox_max,
            wire: VecDeque::new(),
            in_flight: 0,
            wire_scheduled: false,
            progress_at: Duration::ZERO,
            write_shut: false,
            fin_sent: false,
            fin_received: false,
            read_shut: false,
            is_closed: false,
            error: None,
            nodelay: false,
            reuse_port: false,
            user_timeout: None,
            copies: None,
            resets_on_close: false,
        }
    }

    /// As `tcp_recvmsg`: bytes before errors, an error once, the end ever after.
    pub(crate) fn readable(&self) -> Readable {
        if !self.inbox.is_empty() {
            return Readable::Bytes(self.inbox.len());
        }
        if let Some(errno) = self.error {
            return Readable::Error(errno);
        }
        match self.phase {
            Phase::Connected | Phase::Handshake { .. } if self.fin_received || self.read_shut => {
                Readable::End
            }
            Phase::Connected | Phase::Handshake { .. } | Phase::Connecting { .. } => Readable::NotYet,
            Phase::Dead => Readable::End,
            Phase::Fresh if self.read_shut => Readable::End,
            Phase::Fresh | Phase::Listening { .. } => Readable::Error(libc::ENOTCONN),
        }
    }

    /// As `tcp_sendmsg`.
    pub(crate) fn writable(&self) -> Writable {
        if let Some(errno) = self.error {
            return Writable::Error(errno);
        }
        match self.phase {
            Phase::Connected | Phase::Handshake { .. } if self.write_shut => Writable::Error(libc::EPIPE),
            Phase::Connected | Phase::Handshake { .. } => {
                match self.outbox_max.saturating_sub(self.outbox.len() + self.in_flight) {
                    0 => Writable::NotYet,
                    room => Writable::Room(room),
                }
            }
            Phase::Connecting { .. } => Writable::NotYet,
            Phase::Dead | Phase::Fresh | Phase::Listening { .. } => Writable::Error(libc::EPIPE),
        }
    }

    /// Takes the error, which is reported once.
    pub(crate) fn report(&mut self, errno: i32) -> i32 {
        self.error = self.error.filter(|error| *error != errno);
        -errno
    }

    /// Nothing of what was written has still to reach the peer.
    pub(crate) fn is_flushed(&self) -> bool {
        self.outbox.is_empty() && self.in_flight == 0
    }

    /// The connection is over at once, with an error for whoever looks next.
    pub(crate) fn die(&mut self, errno: Option<i32>) {
        self.phase = Phase::Dead;
        self.error = errno;
        self.outbox.clear();
        self.wire.clear();
        self.in_flight = 0;
    }

    /// `POLL*` of this moment.
    pub(crate) fn poll_mask(&self) -> i16 {
        let mut mask = 0;
        if let Phase::Listening { queue, .. } = &self.phase {
            return if queue.is_empty() { 0 } else { libc::POLLIN | libc::POLLRDNORM };
        }
        match self.readable() {
            Readable::Bytes(_) | Readable::End => mask |= libc::POLLIN | libc::POLLRDNORM,
            Readable::Error(_) => mask |= libc::POLLIN | libc::POLLRDNORM | libc::POLLERR,
            Readable::NotYet => {}
        }
        match self.writable() {
            Writable::Room(_) => mask |= libc::POLLOUT | libc::POLLWRNORM,
            Writable::Error(_) => mask |= libc::POLLOUT | libc::POLLWRNORM,
            Writable::NotYet => {}
        }
        let ended = self.fin_received || matches!(self.phase, Phase::Dead);
        if ended {
            mask |= libc::POLLRDHUP;
        }
        if matches!(self.phase, Phase::Dead | Phase::Fresh) || (ended && self.write_shut) {
            mask |= libc::POLLHUP;
        }
        mask
    }
}
