//! What goes on beside the traffic: upstreams are looked up again and checked. On a core of its own.

use std::future::pending;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use coronet::sync::Notify;
use coronet::time::sleep;
use futures_util::future::{Either, join_all, select};

use crate::health::Rule;
use crate::metrics::Failure;
use crate::shared::{Shared, complain};

/// Looks the names up, for ever; at once when `reloaded` is told, which is when new settings are in force.
///
/// # Cancellation
/// Safe.
pub(crate) async fn resolve(shared: Arc<Shared>, reloaded: &Notify) {
    loop {
        let was_reloaded = pause(shared.settings().resolve_interval, reloaded).await;
        let failures = resolve_once(&shared).await;
        if was_reloaded {
            failures.iter().for_each(|error| complain(&error.to_string()));
            shared.metrics.reloads.inc();
        }
    }
}

/// Looks the names up once; those that could not be.
///
/// # Cancellation
/// Safe.
pub(crate) async fn resolve_once(shared: &Shared) -> Vec<std::io::Error> {
    let failures = shared.upstreams.resolve(&shared.settings().to, &shared.metrics).await;
    failures.iter().for_each(|_| shared.metrics.failed(Failure::resolve));
    failures
}

/// Checks all upstreams, again and again, for ever.
///
/// # Cancellation
/// Safe.
pub(crate) async fn check(shared: Arc<Shared>, reloaded: &Notify) {
    loop {
        pause(shared.settings().health_interval, reloaded).await;
        let settings = shared.settings();
        if settings.health_interval.is_none() {
            continue;
        }
        let limit = settings.connect_timeout;
        let rule = Rule { fails: settings.health_fails, passes: settings.health_passes };
        let endpoints = shared.upstreams.endpoints();
        join_all(endpoints.iter().map(|endpoint| async move {
            // A check is a connect like others.
            let connected = endpoint.connect(limit).await;
            endpoint.checked(connected.is_ok(), rule);
        }))
        .await;
    }
}

/// Waits for the interval; true if it was cut short by new settings.
async fn pause(interval: Option<Duration>, reloaded: &Notify) -> bool {
    let pause = async {
        match interval {
            Some(interval) => sleep(interval).await,
            None => pending().await,
        }
    };
    matches!(select(pin!(pause), pin!(reloaded.notified())).await, Either::Right(_))
}
