//! The upstreams as all cores see them: addresses, who is up, how busy each is.
//!
//! It looks names up and picks; the rule of picking is in `balance.rs`, the rhythm of looking up and checking
//! in `upkeep.rs`.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use coronet::net::{TcpStream, lookup_host};
use coronet::time::timeout;

use crate::balance::{Balance, choose};
use crate::health::{Health, Rule};
use crate::metrics::{Metrics, OfUpstream};

/// One address of one upstream.
pub(crate) struct Endpoint {
    pub(crate) name: String,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: OfUpstream,
    health: Mutex<Health>,
    open: AtomicUsize,
}

impl Endpoint {
    fn is_up(&self) -> bool {
        self.health.lock().unwrap_or_else(PoisonError::into_inner).is_up()
    }

    /// Takes the result of a check to account.
    pub(crate) fn checked(&self, passed: bool, rule: Rule) {
        let mut health = self.health.lock().unwrap_or_else(PoisonError::into_inner);
        *health = health.after(passed, rule);
        self.metrics.up.set(i64::from(health.is_up()));
    }

    /// Connects to it.
    ///
    /// # Errors
    /// Those of the connect; `TimedOut`; `ConnectionRefused`, also if the kernel connected the socket to
    /// itself, which happens on the loopback when nobody listens on a port of the ephemeral range.
    pub(crate) async fn connect(&self, limit: Duration) -> io::Result<TcpStream> {
        let connected = timeout(limit, TcpStream::connect(self.address)).await;
        let stream = connected.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))??;
        if stream.local_addr()? == self.address {
            return Err(io::ErrorKind::ConnectionRefused.into());
        }
        Ok(stream)
    }

    /// Counts a connection to it, as long as the guard lives.
    pub(crate) fn in_use(self: &Arc<Self>) -> InUse {
        self.open.fetch_add(1, Ordering::Relaxed);
        self.metrics.open.inc();
        InUse(self.clone())
    }
}

/// A connection to an endpoint.
pub(crate) struct InUse(Arc<Endpoint>);

impl Drop for InUse {
    fn drop(&mut self) {
        self.0.open.fetch_sub(1, Ordering::Relaxed);
        self.0.metrics.open.dec();
    }
}

/// All of them.
pub(crate) struct Upstreams {
    endpoints: RwLock<Arc<[Arc<Endpoint>]>>,
    turn: AtomicUsize,
}

impl Upstreams {
    pub(crate) fn new() -> Self {
        Self { endpoints: RwLock::new(Arc::new([])), turn: AtomicUsize::new(0) }
    }

    pub(crate) fn endpoints(&self) -> Arc<[Arc<Endpoint>]> {
        self.endpoints.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The next one to try, of those that are up and not in `tried`.
    pub(crate) fn pick(&self, balance: Balance, tried: &[SocketAddr]) -> Option<Arc<Endpoint>> {
        let endpoints = self.endpoints();
        let candidates: Vec<_> = endpoints
            .iter()
            .filter(|endpoint| !tried.contains(&endpoint.address) && endpoint.is_up())
            .collect();
        let open: Vec<_> = candidates.iter().map(|endpoint| endpoint.open.load(Ordering::Relaxed)).collect();
        // A second try is not the next one's turn.
        let turn = match tried {
            [] => self.turn.fetch_add(1, Ordering::Relaxed),
            _ => self.turn.load(Ordering::Relaxed),
        };
        let chosen = choose(balance, &open, turn, |below| fastrand::usize(..below))?;
        Some(Arc::clone(candidates[chosen]))
    }

    /// Looks all names up. An endpoint that was there before keeps its standing; a name that cannot be looked
    /// up keeps its addresses, and is told with the reason.
    ///
    /// # Cancellation
    /// Safe. Nothing is changed before all answers are there.
    pub(crate) async fn resolve(&self, names: &[String], metrics: &Metrics) -> Vec<io::Error> {
        let answers = names.iter().map(|name| async move { (name, lookup_host(name).await) });
        let answers = futures_util::future::join_all(answers).await;
        let old = self.endpoints();
        let mut new: Vec<Arc<Endpoint>> = Vec::new();
        let mut failures = Vec::new();
        for (name, answer) in answers {
            let addresses = match answer {
                Ok(addresses) => addresses,
                Err(error) => {
                    failures.push(error);
                    old.iter()
                        .filter(|endpoint| &endpoint.name == name)
                        .map(|endpoint| endpoint.address)
                        .collect()
                }
            };
            for address in addresses {
                if new.iter().any(|endpoint| endpoint.address == address) {
                    continue;
                }
                let known = old.iter().find(|known| known.address == address && &known.name == name);
                new.push(known.cloned().unwrap_or_else(|| {
                    Arc::new(Endpoint {
                        name: name.clone(),
                        address,
                        metrics: metrics.of_upstream(name, address),
                        health: Mutex::new(Health::new()),
                        open: AtomicUsize::new(0),
                    })
                }));
            }
        }
        for gone in old.iter().filter(|old| !new.iter().any(|new| Arc::ptr_eq(old, new))) {
            // Its connections go on; it only gets no new ones, and is not shown any more.
            metrics.forget_upstream(&gone.name, gone.address);
        }
        *self.endpoints.write().unwrap_or_else(PoisonError::into_inner) = new.into();
        failures
    }
}
