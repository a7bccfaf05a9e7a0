//! The calls that go past the ring, as `coronet_ring::System` names them, and those by which a
//! simulation makes hosts, rings, files and pipes.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{Shutdown, SocketAddr};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use coronet_ring::SocketOption;
use coronet_ring::backend::Unparker;
use coronet_ring::pool::{GroupId, GroupMemory};

use super::endpoint::{Endpoint, Phase};
use super::events::Event;
use super::groups::BufferRing;
use super::memory::RingMemory;
use super::objects::{HostId, Kind, ObjectId};
use super::ops::{Ring, RingId};
use super::pipes::PipeEnd;
use super::state::Kernel;

/// Linux's `net.core.somaxconn`.
const BACKLOG_MAX: i32 = 4096;

fn failed<T>(errno: i32) -> io::Result<T> {
    Err(io::Error::from_raw_os_error(errno))
}

impl Kernel {
    fn socket_of(&self, fd: BorrowedFd<'_>) -> io::Result<(ObjectId, HostId, &Endpoint)> {
        let Some(id) = self.objects.find(fd) else { return failed(libc::EBADF) };
        match (self.objects.get(id), self.objects.endpoint(id)) {
            (Some(object), Some(endpoint)) => Ok((id, object.host, endpoint)),
            (Some(_), None) => failed(libc::ENOTSOCK),
            (None, _) => failed(libc::EBADF),
        }
    }

    fn socket_mut(&mut self, fd: BorrowedFd<'_>) -> io::Result<(ObjectId, &mut Endpoint)> {
        let (id, _, _) = self.socket_of(fd)?;
        Ok((id, self.objects.endpoint_mut(id).expect("looked up above")))
    }

    pub(crate) fn tcp_socket(&mut self, host: HostId) -> io::Result<OwnedFd> {
        self.sweep();
        let endpoint = self.new_endpoint();
        let id = self.objects.add(host, Kind::Socket(Box::new(endpoint)));
        self.note(format_args!("socket {} is made", id.0));
        self.objects.open(id)
    }

    pub(crate) fn bind(&mut self, fd: BorrowedFd<'_>, address: SocketAddr) -> io::Result<()> {
        self.sweep();
        let (id, host, endpoint) = self.socket_of(fd)?;
        if endpoint.local.is_some() {
            return failed(libc::EINVAL);
        }
        let shares = endpoint.reuse_port;
        if !self.network.hosts[&host].has(address.ip()) {
            return failed(libc::EADDRNOTAVAIL);
        }
        let address = if address.port() == 0 { self.free_port(host, address) } else { address };
        let taken = self.bound(host, address.port()).any(|other| {
            let same = |local: SocketAddr| {
                local.ip() == address.ip() || local.ip().is_unspecified() || address.ip().is_unspecified()
            };
            other.local.is_some_and(same) && !(shares && other.reuse_port)
        });
        if taken {
            return failed(libc::EADDRINUSE);
        }
        self.objects.endpoint_mut(id).expect("looked up above").local = Some(address);
        self.note(format_args!("socket {} is bound to {address}", id.0));
        Ok(())
    }

    /// Sockets that hold a port of a host.
    fn bound(&self, host: HostId, port: u16) -> impl Iterator<Item = &Endpoint> {
        let here = move |id: ObjectId| self.objects.get(id).is_some_and(|object| object.host == host);
        let holds = move |endpoint: &Endpoint| {
            !endpoint.is_child && endpoint.local.is_some_and(|local| local.port() == port)
        };
        self.objects
            .sockets()
            .filter(move |(id, endpoint)| here(*id) && holds(endpoint))
            .map(|(_, socket)| socket)
    }

    fn free_port(&mut self, host: HostId, address: SocketAddr) -> SocketAddr {
        loop {
            let port = self.network.hosts.get_mut(&host).expect("a host that exists").next_port();
            if self.bound(host, port).next().is_none() {
                return SocketAddr::new(address.ip(), port);
            }
        }
    }

    pub(crate) fn listen(&mut self, fd: BorrowedFd<'_>, backlog: i32) -> io::Result<()> {
        let (id, host, endpoint) = self.socket_of(fd)?;
        if !matches!(endpoint.phase, Phase::Fresh | Phase::Listening { .. }) {
            return failed(libc::EINVAL);
        }
        if endpoint.local.is_none() {
            let any = self.free_port(host, (std::net::Ipv4Addr::UNSPECIFIED, 0).into());
            self.objects.endpoint_mut(id).expect("looked up above").local = Some(any);
        }
        let backlog = backlog.clamp(0, BACKLOG_MAX) as usize;
        let endpoint = self.objects.endpoint_mut(id).expect("looked up above");
        endpoint.phase = Phase::Listening { queue: VecDeque::new(), pending: 0, backlog };
        self.note(format_args!("socket {} listens", id.0));
        Ok(())
    }

    /// Begins the handshake of a socket.
    pub(crate) fn start_connect(&mut self, id: ObjectId, remote: SocketAddr) {
        let Some(host) = self.objects.get(id).map(|object| object.host) else { return };
        let to_self = self.network.by_address(host, remote.ip()) == Some(host);
        let address = self.network.hosts[&host].address;
        // To oneself one comes from the address that one goes to, as on Linux.
        let ip = match remote.ip() {
            ip if ip.is_unspecified() => std::net::Ipv4Addr::LOCALHOST.into(),
            ip if to_self => ip,
            _ => address,
        };
        let remote = if remote.ip().is_unspecified() { SocketAddr::new(ip, remote.port()) } else { remote };
        let local = self.objects.endpoint(id).and_then(|endpoint| endpoint.local);
        let local = match local {
            Some(local) if local.ip().is_unspecified() => SocketAddr::new(ip, local.port()),
            Some(local) => local,
            None => self.free_port(host, SocketAddr::new(ip, 0)),
        };
        let Some(endpoint) = self.objects.endpoint_mut(id) else { return };
        endpoint.phase = Phase::Connecting { tries: 0 };
        (endpoint.local, endpoint.remote) = (Some(local), Some(remote));
        self.note(format_args!("socket {} connects to {remote}", id.0));
        self.send_syn(id);
    }

    pub(crate) fn local_addr(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        let (_, _, endpoint) = self.socket_of(fd)?;
        Ok(endpoint.local.unwrap_or_else(|| (std::net::Ipv4Addr::UNSPECIFIED, 0).into()))
    }

    pub(crate) fn peer_addr(&self, fd: BorrowedFd<'_>) -> io::Result<SocketAddr> {
        let (_, _, endpoint) = self.socket_of(fd)?;
        let is_connected = matches!(endpoint.phase, Phase::Connected | Phase::Handshake { .. });
        endpoint.remote.filter(|_| is_connected).map_or_else(|| failed(libc::ENOTCONN), Ok)
    }

    pub(crate) fn shutdown(&mut self, fd: BorrowedFd<'_>, how: Shutdown) -> io::Result<()> {
        let (id, endpoint) = self.socket_mut(fd)?;
        // Noted also where it is refused.
        endpoint.read_shut |= matches!(how, Shutdown::Read | Shutdown::Both);
        endpoint.write_shut |= matches!(how, Shutdown::Write | Shutdown::Both);
        if !matches!(endpoint.phase, Phase::Connected) {
            return failed(libc::ENOTCONN);
        }
        self.note(format_args!("socket {} is shut down: {how:?}", id.0));
        self.pump(id);
        self.wake(id);
        Ok(())
    }

    pub(crate) fn set_option(&mut self, fd: BorrowedFd<'_>, option: SocketOption) -> io::Result<()> {
        let (id, endpoint) = self.socket_mut(fd)?;
        match option {
            // Ports do not linger here.
            SocketOption::ReuseAddress(_) => {}
            SocketOption::ReusePort(on) => endpoint.reuse_port = on,
            SocketOption::NoDelay(on) => endpoint.nodelay = on,
            SocketOption::UserTimeout(limit) => {
                endpoint.user_timeout = Some(limit).filter(|limit| !limit.is_zero());
                self.schedule(limit, Event::UserTimeout(id));
            }
            // Any other span makes close(2) wait, which nobody here does.
            SocketOption::Linger(linger) => endpoint.resets_on_close = linger == Some(Duration::ZERO),
        }
        Ok(())
    }

    pub(crate) fn nodelay(&self, fd: BorrowedFd<'_>) -> io::Result<bool> {
        self.socket_of(fd).map(|(_, _, endpoint)| endpoint.nodelay)
    }

    /// Whether a connection waits to be accepted.
    pub(crate) fn has_waiting(&self, fd: BorrowedFd<'_>) -> bool {
        let waits = |endpoint: &Endpoint| matches!(&endpoint.phase, Phase::Listening { queue, .. } if !queue.is_empty());
        self.socket_of(fd).is_ok_and(|(_, _, endpoint)| waits(endpoint))
    }

    /// A file of a host's disk, made if it is not there.
    pub(crate) fn open_file(&mut self, host: HostId, name: &str) -> io::Result<OwnedFd> {
        let file = self.network.hosts.get_mut(&host).expect("a host that exists").disk.open(name);
        let id = self.objects.add(host, Kind::File(file));
        self.objects.open(id)
    }

    /// `fsync(2)`.
    pub(crate) fn sync_file(&mut self, fd: BorrowedFd<'_>) -> io::Result<()> {
        let Some(id) = self.objects.find(fd) else { return failed(libc::EBADF) };
        let Some((host, Kind::File(file))) = self.objects.get(id).map(|object| (object.host, &object.kind))
        else {
            return failed(libc::EINVAL);
        };
        let file = file.clone();
        if self.tape.chance(self.faults.disk_errors) {
            return failed(libc::EIO);
        }
        self.network.hosts.get_mut(&host).expect("an object has a host").disk.sync(&file);
        Ok(())
    }

    /// The reading and the writing end.
    pub(crate) fn pipe(&mut self, host: HostId) -> io::Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = PipeEnd::pair();
        let (reader, writer) =
            (self.objects.add(host, Kind::Pipe(reader)), self.objects.add(host, Kind::Pipe(writer)));
        for (end, other) in [(reader, writer), (writer, reader)] {
            if let Some(Kind::Pipe(end)) = self.objects.get_mut(end).map(|object| &mut object.kind) {
                end.other = Some(other);
            }
        }
        Ok((self.objects.open(reader)?, self.objects.open(writer)?))
    }

    /// A ring for a host, and the pipe that tells who waits for it.
    /// A ring, and the pipe that rings when it has something to collect.
    pub(crate) fn open_ring(
        &mut self,
        host: HostId,
        unparker: &Unparker,
    ) -> io::Result<(RingId, (OwnedFd, OwnedFd))> {
        let id = RingId(self.work.rings.len() as u32);
        let object = self.objects.add(host, Kind::Ring(id));
        let bell = self.objects.open_bell(object)?;
        self.objects.watch_unparker(object, unparker.as_fd())?;
        let capacity = match self.tape.below(4) {
            0 | 1 => 256,
            2 => 8,
            _ => 1 + self.tape.below(64) as usize,
        };
        let ring = Ring {
            host,
            object,
            capacity,
            queue: VecDeque::new(),
            posted: VecDeque::new(),
            by_token: HashMap::new(),
            groups: HashMap::new(),
            is_poked: false,
            enters: 0,
            is_gone: false,
        };
        self.work.rings.insert(id, ring);
        Ok((id, bell))
    }

    pub(crate) fn open_group(
        &mut self,
        ring: RingId,
        group: GroupId,
        memory: &GroupMemory,
        incremental: bool,
    ) {
        let ring = self.work.rings.get_mut(&ring).expect("a ring that is open");
        ring.groups.insert(group, BufferRing::new(RingMemory::new(memory), incremental));
    }

    pub(crate) fn close_group(&mut self, ring: RingId, group: GroupId) {
        let ring = self.work.rings.get_mut(&ring).expect("a ring that is open");
        ring.groups.remove(&group);
    }

    /// The descriptor of a ring is closed. As on Linux its operations end some time later: until
    /// then they may still touch what they were lent.
    pub(crate) fn close_ring(&mut self, id: RingId) {
        let Some(ring) = self.work.rings.get_mut(&id) else { return };
        ring.is_gone = true;
        ring.queue.clear();
        let object = ring.object;
        drop(std::mem::take(&mut ring.posted));
        let left: Vec<_> = ring.by_token.drain().map(|(_, op)| op).collect();
        self.objects.remove(object);
        for op in left.into_iter().collect::<std::collections::BTreeSet<_>>() {
            let later = Duration::from_micros(self.tape.below(1000));
            self.schedule(later, Event::CancelEnds(op));
        }
    }

    /// The power of a host fails: its connections end without a word, its operations touch
    /// nothing any more, and its disk keeps what was synced.
    pub(crate) fn power_off(&mut self, host: HostId) {
        self.note(format_args!("host {} crashes", host.0));
        let of_host = |ring: &RingId| self.work.rings[ring].host == host;
        let left: Vec<_> =
            self.work.ops.iter().filter(|(_, op)| of_host(&op.ring)).map(|(id, _)| *id).collect();
        for id in left {
            let Some(mut op) = self.work.ops.remove(&id) else { continue };
            if op.phase == super::ops::Phase::Done {
                self.work.ops.insert(id, op);
                continue;
            }
            op.target = None;
            let (result, flags) = match op.phase {
                super::ops::Phase::Lent => op.done,
                _ => (-libc::ECANCELED, 0),
            };
            self.finish(id, op, result, flags, None);
        }
        let rings = self.work.rings.iter().filter(|(_, ring)| ring.host == host);
        let bells: Vec<_> = rings.map(|(_, ring)| ring.object).collect();
        for id in self.objects.of_host(host) {
            if !bells.contains(&id) {
                self.objects.remove(id);
            }
        }
        let machine = self.network.hosts.get_mut(&host).expect("a host that exists");
        machine.is_up = false;
        machine.disk.crash(&mut self.tape);
    }

    /// Resets the connections between two hosts, at both ends.
    pub(crate) fn reset_between(&mut self, one: HostId, other: HostId) {
        let host = |id: ObjectId| self.objects.get(id).map(|object| object.host);
        let between = |id: ObjectId, endpoint: &Endpoint| {
            let ends = (host(id), endpoint.peer.and_then(host));
            ends == (Some(one), Some(other)) || ends == (Some(other), Some(one))
        };
        let hit: Vec<_> = self
            .objects
            .sockets()
            .filter(|(id, endpoint)| between(*id, endpoint))
            .map(|(id, _)| id)
            .collect();
        for id in hit {
            self.reset(id);
        }
    }

    pub(crate) fn power_on(&mut self, host: HostId) {
        self.note(format_args!("host {} starts", host.0));
        self.network.hosts.get_mut(&host).expect("a host that exists").is_up = true;
    }
}
