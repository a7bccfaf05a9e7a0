//! TCP between two endpoints: handshake, segments in order, the end of a connection.
//!
//! What is sent arrives, in order, as long as the way is open; what the way holds up is sent
//! again. So a partition delays, and a long one ends connections; a reset overtakes bytes.

use std::net::SocketAddr;
use std::time::Duration;

use super::bytes;
use super::endpoint::{Endpoint, Phase, Segment};
use super::events::Event;
use super::objects::{HostId, Kind, ObjectId};
use super::state::Kernel;

/// The first pause before a request for a connection is repeated; it doubles each time.
const SYN_PAUSE: Duration = Duration::from_secs(1);
/// So often (`net.ipv4.tcp_syn_retries`).
const SYN_TRIES_MAX: u32 = 6;
/// The least time before a segment is sent again (`TCP_RTO_MIN`).
const RETRY_PAUSE: Duration = Duration::from_millis(200);
/// How long an address that nobody has is looked for.
const NO_ROUTE_AFTER: Duration = Duration::from_secs(3);
/// How long segments are sent again by default (`net.ipv4.tcp_retries2`: 924 s at the least).
const GIVE_UP_AFTER: Duration = Duration::from_secs(924);

impl Kernel {
    /// A socket with buffers of this run's choice.
    pub(crate) fn new_endpoint(&mut self) -> Endpoint {
        let (inbox, outbox) = (self.settings.receive_buffer, self.settings.send_buffer);
        let mut size = |(least, most): (usize, usize)| match self.tape.below(4) {
            0 | 1 => most,
            2 => least,
            _ => most - self.tape.below((most - least) as u64 + 1) as usize,
        };
        Endpoint::new(size(inbox), size(outbox))
    }

    /// The one who listens on a host where `address` leads to; one of them if they share the port.
    fn listener_at(&mut self, host: HostId, address: SocketAddr) -> Option<ObjectId> {
        let listens = |endpoint: &Endpoint| {
            let local = endpoint.local.filter(|local| local.port() == address.port());
            matches!(endpoint.phase, Phase::Listening { .. })
                && local.is_some_and(|local| local.ip().is_unspecified() || local.ip() == address.ip())
        };
        let here = |id: &ObjectId| self.objects.get(*id).is_some_and(|object| object.host == host);
        let found = self.objects.sockets().filter(|(id, endpoint)| here(id) && listens(endpoint));
        let found: Vec<_> = found.map(|(id, _)| id).collect();
        if found.is_empty() { None } else { Some(found[self.tape.below(found.len() as u64) as usize]) }
    }

    fn host_of(&self, id: ObjectId) -> Option<HostId> {
        self.objects.get(id).map(|object| object.host)
    }

    /// Sends the request for a connection.
    pub(crate) fn send_syn(&mut self, id: ObjectId) {
        let Some(from) = self.host_of(id) else { return };
        let Some(remote) = self.objects.endpoint(id).and_then(|endpoint| endpoint.remote) else { return };
        match self.network.by_address(from, remote.ip()) {
            Some(to) => {
                let latency = self.latency(from, to);
                self.schedule(latency, Event::Syn(id));
            }
            None => self.schedule(NO_ROUTE_AFTER, Event::Refused(id, libc::EHOSTUNREACH)),
        }
    }

    /// The request for a connection arrives.
    pub(crate) fn syn(&mut self, client: ObjectId) {
        let Some(from) = self.host_of(client) else { return };
        let Some(endpoint) = self.objects.endpoint(client) else { return };
        let (Phase::Connecting { tries }, Some(remote)) = (&endpoint.phase, endpoint.remote) else { return };
        let (tries, known, client_local) = (*tries, endpoint.peer, endpoint.local);
        let to = self.network.by_address(from, remote.ip());
        let Some(to) = to.filter(|to| self.network.passes(from, *to)) else {
            return self.repeat_syn(client, tries);
        };
        if known.is_some() {
            return self.send_syn_ack(client, from, to);
        }
        let Some(listener) = self.listener_at(to, remote) else {
            self.note(format_args!(
                "{} refuses a connection to {remote}",
                self.network.hosts[&to].name.clone()
            ));
            let latency = self.latency(to, from);
            return self.schedule(latency, Event::Refused(client, libc::ECONNREFUSED));
        };
        let mut child = self.new_endpoint();
        child.phase = Phase::Handshake { listener };
        (child.local, child.remote) = (Some(remote), client_local);
        (child.peer, child.is_child) = (Some(client), true);
        let Some(Phase::Listening { queue, pending, backlog }) =
            self.objects.endpoint_mut(listener).map(|endpoint| &mut endpoint.phase)
        else {
            return;
        };
        // Linux takes one more than it was told.
        if queue.len() + *pending > *backlog {
            return self.repeat_syn(client, tries);
        }
        *pending += 1;
        let child = self.objects.add(to, Kind::Socket(Box::new(child)));
        if let Some(endpoint) = self.objects.endpoint_mut(client) {
            endpoint.peer = Some(child);
        }
        self.send_syn_ack(client, from, to);
    }

    fn send_syn_ack(&mut self, client: ObjectId, from: HostId, to: HostId) {
        let latency = self.latency(to, from);
        self.schedule(latency, Event::SynAck(client));
    }

    fn repeat_syn(&mut self, client: ObjectId, tries: u32) {
        if tries >= SYN_TRIES_MAX {
            return self.refused(client, libc::ETIMEDOUT);
        }
        if let Some(endpoint) = self.objects.endpoint_mut(client) {
            endpoint.phase = Phase::Connecting { tries: tries + 1 };
        }
        self.schedule(SYN_PAUSE * 2_u32.pow(tries), Event::Syn(client));
    }

    /// The answer arrives: the client is connected, and says so.
    pub(crate) fn syn_ack(&mut self, client: ObjectId) {
        let now = self.now();
        let Some(host) = self.host_of(client) else { return };
        let Some(endpoint) = self.objects.endpoint(client) else { return };
        let (Phase::Connecting { tries }, Some(child)) = (&endpoint.phase, endpoint.peer) else { return };
        let tries = *tries;
        let server = self.host_of(child);
        if !server.is_some_and(|server| self.network.passes(server, host)) {
            return self.repeat_syn(client, tries);
        }
        let Some(endpoint) = self.objects.endpoint_mut(client) else { return };
        endpoint.phase = Phase::Connected;
        endpoint.progress_at = now;
        self.send_segment(client, Segment::Ack);
        self.wake(client);
    }

    /// The attempt to connect is over.
    pub(crate) fn refused(&mut self, client: ObjectId, errno: i32) {
        let Some(endpoint) = self.objects.endpoint_mut(client) else { return };
        if matches!(endpoint.phase, Phase::Connecting { .. }) {
            let child = endpoint.peer.take();
            endpoint.die(Some(errno));
            self.wake(client);
            self.drop_handshake(child);
        }
    }

    /// The client of a handshake is gone: the place in the backlog is free again.
    pub(crate) fn drop_handshake(&mut self, child: Option<ObjectId>) {
        let Some(child) = child else { return };
        let Some(Phase::Handshake { listener }) =
            self.objects.endpoint(child).map(|endpoint| &endpoint.phase)
        else {
            return;
        };
        let listener = *listener;
        self.objects.remove(child);
        if let Some(Phase::Listening { pending, .. }) =
            self.objects.endpoint_mut(listener).map(|endpoint| &mut endpoint.phase)
        {
            *pending -= 1;
        }
    }

    fn send_segment(&mut self, id: ObjectId, segment: Segment) {
        let Some(from) = self.host_of(id) else { return };
        let peer = self.objects.endpoint(id).and_then(|endpoint| endpoint.peer);
        let to = peer.and_then(|peer| self.host_of(peer)).unwrap_or(from);
        let now = self.now();
        let arrival = now + self.latency(from, to);
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        if endpoint.wire.is_empty() && endpoint.in_flight == 0 {
            endpoint.progress_at = now;
        }
        let behind = endpoint.wire.back().map_or(Duration::ZERO, |(at, _)| *at);
        let arrival = arrival.max(behind);
        if let Segment::Data(bytes) = &segment {
            endpoint.in_flight += bytes.len();
        }
        endpoint.wire.push_back((arrival, segment));
        self.watch_wire(id);
    }

    fn watch_wire(&mut self, id: ObjectId) {
        let now = self.now();
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        let Some((at, _)) = endpoint.wire.front() else { return };
        let after = at.saturating_sub(now);
        if !std::mem::replace(&mut endpoint.wire_scheduled, true) {
            self.schedule(after, Event::Wire(id));
        }
    }

    /// Sends what the peer has room for, and the end behind it.
    pub(crate) fn pump(&mut self, id: ObjectId) {
        loop {
            let Some(endpoint) = self.objects.endpoint(id) else { return };
            if !matches!(endpoint.phase, Phase::Connected | Phase::Handshake { .. }) {
                return;
            }
            let waiting = endpoint.outbox.len();
            if waiting == 0 {
                if endpoint.write_shut && !endpoint.fin_sent {
                    self.objects.endpoint_mut(id).expect("looked up above").fin_sent = true;
                    self.send_segment(id, Segment::Fin);
                }
                return;
            }
            let peer = endpoint.peer.and_then(|peer| self.objects.endpoint(peer));
            // A peer that is gone takes nothing, but its host will say so to the first segment.
            let window = peer.map_or(1, |peer| peer.inbox_max.saturating_sub(peer.inbox.len()));
            let room = window.saturating_sub(endpoint.in_flight).min(waiting);
            if room == 0 {
                return;
            }
            let count = self.count(room);
            let endpoint = self.objects.endpoint_mut(id).expect("looked up above");
            let bytes = bytes::take(&mut endpoint.outbox, count);
            self.send_segment(id, Segment::Data(bytes));
        }
    }

    /// Delivers the segments of one sender that have arrived.
    pub(crate) fn deliver(&mut self, id: ObjectId) {
        let now = self.now();
        let Some(from) = self.host_of(id) else { return };
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        endpoint.wire_scheduled = false;
        let Some(peer) = endpoint.peer else { return };
        let stalled = now - endpoint.progress_at;
        let limit = endpoint.user_timeout.unwrap_or(GIVE_UP_AFTER);
        let remote = endpoint.remote;
        let to = remote.and_then(|remote| self.network.by_address(from, remote.ip())).unwrap_or(from);
        if !self.network.passes(from, to) {
            if stalled >= limit {
                return self.abandon(id, libc::ETIMEDOUT);
            }
            let endpoint = self.objects.endpoint_mut(id).expect("looked up above");
            if !endpoint.wire.is_empty() {
                endpoint.wire_scheduled = true;
                self.schedule(RETRY_PAUSE, Event::Wire(id));
            }
            return;
        }
        loop {
            let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
            if endpoint.wire.front().is_none_or(|(at, _)| *at > now) {
                break;
            }
            let Some((_, segment)) = endpoint.wire.pop_front() else { break };
            endpoint.progress_at = now;
            if let Segment::Data(bytes) = &segment {
                endpoint.in_flight -= bytes.len();
            }
            if self.tape.chance(self.faults.resets) && matches!(segment, Segment::Data(_)) {
                self.note(format_args!("the network resets a connection"));
                self.reset(id);
                return self.reset(peer);
            }
            self.receive(id, peer, segment);
        }
        self.pump(id);
        self.watch_wire(id);
        self.wake(id);
        self.release_if_unused(id);
    }

    fn receive(&mut self, sender: ObjectId, id: ObjectId, segment: Segment) {
        let refuses = |endpoint: &Endpoint| {
            matches!(endpoint.phase, Phase::Dead)
                || (endpoint.is_closed && matches!(segment, Segment::Data(_)))
        };
        let Some(endpoint) = self.objects.endpoint_mut(id).filter(|endpoint| !refuses(endpoint)) else {
            // Nobody is there who wants it: the host answers with a reset.
            if matches!(segment, Segment::Data(_)) {
                self.answer_reset(id, sender);
            }
            return;
        };
        match segment {
            Segment::Ack => self.established(sender, id),
            Segment::Data(bytes) => endpoint.inbox.extend(bytes),
            Segment::Fin => endpoint.fin_received = true,
        }
        self.wake(id);
        self.release_if_unused(id);
    }

    /// A reset from where `id` is or was. It does not overtake what that side had sent: one that is
    /// ahead of its place in the stream is not believed.
    fn answer_reset(&mut self, id: ObjectId, to: ObjectId) {
        let Some(host) = self.host_of(to) else { return };
        let from = self.host_of(id).unwrap_or(host);
        let latency = self.latency(from, host);
        let behind = self.objects.endpoint(id).and_then(|endpoint| endpoint.wire.back().map(|(at, _)| *at));
        let behind =
            behind.map_or(Duration::ZERO, |at| at.saturating_sub(self.now()) + Duration::from_nanos(1));
        self.schedule(latency.max(behind), Event::Reset(to));
    }

    /// The handshake is over: the connection waits to be accepted.
    fn established(&mut self, client: ObjectId, child: ObjectId) {
        let now = self.now();
        let Some(endpoint) = self.objects.endpoint_mut(child) else { return };
        let Phase::Handshake { listener } = endpoint.phase else { return };
        endpoint.phase = Phase::Connected;
        endpoint.progress_at = now;
        match self.objects.endpoint_mut(listener).map(|endpoint| &mut endpoint.phase) {
            Some(Phase::Listening { queue, pending, .. }) => {
                *pending -= 1;
                queue.push_back(child);
                self.wake(listener);
            }
            _ => {
                self.objects.remove(child);
                self.schedule(Duration::ZERO, Event::Reset(client));
            }
        }
    }

    /// A reset arrives.
    pub(crate) fn reset(&mut self, id: ObjectId) {
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        let errno = match endpoint.phase {
            Phase::Dead | Phase::Fresh | Phase::Listening { .. } => return,
            Phase::Connecting { .. } => libc::ECONNREFUSED,
            // As `tcp_reset`: behind the peer's end only writes are left to fail.
            _ if endpoint.fin_received => libc::EPIPE,
            _ => libc::ECONNRESET,
        };
        endpoint.die(Some(errno));
        self.note(format_args!("socket {} is reset", id.0));
        self.wake(id);
        self.release_if_unused(id);
    }

    /// Gives a connection up, and says so to nobody but its owner.
    pub(crate) fn abandon(&mut self, id: ObjectId, errno: i32) {
        if let Some(endpoint) = self.objects.endpoint_mut(id) {
            endpoint.die(Some(errno));
            self.note(format_args!("socket {} gives up", id.0));
            self.wake(id);
            self.release_if_unused(id);
        }
    }

    /// Resets a connection from this side.
    pub(crate) fn abort(&mut self, id: ObjectId) {
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        let peer = endpoint.peer;
        endpoint.die(None);
        let (Some(peer), Some(from)) = (peer, self.host_of(id)) else { return };
        let Some(to) = self.host_of(peer) else { return };
        if self.network.passes(from, to) {
            let latency = self.latency(from, to);
            self.schedule(latency, Event::Reset(peer));
        }
    }

    /// Looks whether a peer took something within the limit.
    pub(crate) fn user_timeout(&mut self, id: ObjectId) {
        let now = self.now();
        let Some(endpoint) = self.objects.endpoint(id) else { return };
        let (Some(limit), Phase::Connected) = (endpoint.user_timeout, &endpoint.phase) else { return };
        if endpoint.is_flushed() {
            return;
        }
        let stalled = now - endpoint.progress_at;
        if stalled >= limit {
            self.abort(id);
            self.abandon(id, libc::ETIMEDOUT);
        } else {
            self.schedule(limit - stalled, Event::UserTimeout(id));
        }
    }
}
