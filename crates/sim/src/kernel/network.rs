//! Hosts, their addresses, and which of them can reach which.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::files::Disk;
use super::objects::HostId;

/// The first port that is given to a socket without one, as Linux does by default.
const PORT_FIRST: u16 = 32_768;

/// One machine.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: String,
    pub(crate) address: IpAddr,
    pub(crate) is_up: bool,
    pub(crate) disk: Disk,
    ports: u16,
}

impl Host {
    /// Whether a socket can have this address here.
    pub(crate) fn has(&self, ip: IpAddr) -> bool {
        ip.is_unspecified() || ip.is_loopback() || ip == self.address
    }

    pub(crate) fn next_port(&mut self) -> u16 {
        let port = PORT_FIRST + self.ports;
        self.ports = (self.ports + 1) % (u16::MAX - PORT_FIRST);
        port
    }
}

#[derive(Debug, Default)]
pub(crate) struct Network {
    pub(crate) hosts: BTreeMap<HostId, Host>,
    /// From whom to whom nothing passes.
    cuts: BTreeSet<(HostId, HostId)>,
}

impl Network {
    pub(crate) fn add(&mut self, name: &str) -> HostId {
        let id = HostId(self.hosts.len() as u16);
        let [high, low] = (id.0 + 1).to_be_bytes();
        let address = IpAddr::V4(Ipv4Addr::new(10, 0, high, low));
        let host = Host { name: name.to_owned(), address, is_up: true, disk: Disk::default(), ports: 0 };
        self.hosts.insert(id, host);
        id
    }

    pub(crate) fn by_name(&self, name: &str) -> Option<HostId> {
        self.hosts.iter().find(|(_, host)| host.name == name).map(|(id, _)| *id)
    }

    /// Whom `from` means by an address.
    pub(crate) fn by_address(&self, from: HostId, ip: IpAddr) -> Option<HostId> {
        if ip.is_loopback() || ip.is_unspecified() {
            return Some(from);
        }
        self.hosts.iter().find(|(_, host)| host.address == ip).map(|(id, _)| *id)
    }

    pub(crate) fn cut(&mut self, from: HostId, to: HostId) {
        self.cuts.insert((from, to));
    }

    pub(crate) fn mend(&mut self, from: HostId, to: HostId) {
        self.cuts.remove(&(from, to));
    }

    /// Whether something that `from` sends reaches `to`.
    pub(crate) fn passes(&self, from: HostId, to: HostId) -> bool {
        !self.cuts.contains(&(from, to)) && self.hosts.get(&to).is_some_and(|host| host.is_up)
    }

    /// The addresses of `host:port`, as a resolver finds them.
    pub(crate) fn look_up(&self, from: HostId, name: &str) -> Option<Vec<SocketAddr>> {
        let (host, port) = name.rsplit_once(':')?;
        let port = port.parse().ok()?;
        let ip = match host {
            "localhost" => IpAddr::V4(Ipv4Addr::LOCALHOST),
            _ => self.hosts[&self.by_name(host).or_else(|| self.by_ip_text(from, host))?].address,
        };
        Some(vec![SocketAddr::new(ip, port)])
    }

    fn by_ip_text(&self, from: HostId, text: &str) -> Option<HostId> {
        self.by_address(from, text.parse().ok()?)
    }
}
