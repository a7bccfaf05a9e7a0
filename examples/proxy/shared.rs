//! What all cores share: the settings that hold now, the upstreams, the counters, the bound.

use std::io::Write;
use std::sync::{Arc, PoisonError, RwLock};

use crate::config::Settings;
use crate::limit::Limit;
use crate::metrics::Metrics;
use crate::upstreams::Upstreams;

pub(crate) struct Shared {
    settings: RwLock<Arc<Settings>>,
    pub(crate) upstreams: Upstreams,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) limit: Arc<Limit>,
    /// What the descriptors allow, where the settings do not say.
    max_conns: usize,
}

impl Shared {
    pub(crate) fn new(settings: Settings, max_conns: usize) -> Arc<Self> {
        let metrics = Metrics::new();
        let limit = Limit::new(settings.max_conns.unwrap_or(max_conns), metrics.paused.clone());
        let settings = RwLock::new(Arc::new(settings));
        Arc::new(Self { settings, upstreams: Upstreams::new(), metrics, limit, max_conns })
    }

    /// The settings for what begins now.
    pub(crate) fn settings(&self) -> Arc<Settings> {
        self.settings.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Puts new settings in force; what has begun keeps the old ones.
    pub(crate) fn set_settings(&self, settings: Settings) {
        self.limit.set_max(settings.max_conns.unwrap_or(self.max_conns));
        *self.settings.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(settings);
    }
}

/// Says something to the operator. Nowhere to say it is no reason to stop.
pub(crate) fn complain(what: &str) {
    let _ = writeln!(std::io::stderr(), "proxy: {what}");
}
