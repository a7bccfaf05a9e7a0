//! The end of a core: it stops accepting, lets its connections end, and cuts those that do not.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use coronet::sync::{Event, Notify};
use coronet::time::timeout;
use prometheus_client::metrics::gauge::Gauge;

/// The open connections of one core.
#[derive(Default)]
pub(crate) struct Connections {
    open: Rc<Open>,
    cut: Event,
}

#[derive(Default)]
struct Open {
    count: Cell<usize>,
    one_less: Notify,
}

/// Counts as one connection while it lives.
pub(crate) struct Entered {
    open: Rc<Open>,
    gauge: Gauge,
}

impl Connections {
    pub(crate) fn enter(&self, gauge: &Gauge) -> Entered {
        self.open.count.set(self.open.count.get() + 1);
        gauge.inc();
        Entered { open: self.open.clone(), gauge: gauge.clone() }
    }

    /// Set when connections have to end at once.
    pub(crate) fn cut(&self) -> &Event {
        &self.cut
    }

    /// Waits until all have ended, and cuts those that have not after `limit`.
    ///
    /// # Cancellation
    /// Safe. Connections go on.
    pub(crate) async fn drain(&self, limit: Duration) {
        if timeout(limit, self.all_gone()).await.is_err() {
            self.cut.set();
            self.all_gone().await;
        }
    }

    async fn all_gone(&self) {
        while self.open.count.get() > 0 {
            self.open.one_less.notified().await;
        }
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.open.count.set(self.open.count.get() - 1);
        self.open.one_less.notify_one();
        self.gauge.dec();
    }
}
