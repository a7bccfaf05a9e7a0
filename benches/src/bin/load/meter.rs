//! The clockwork of a run: warm-up, the measured window, idle time, the report.

use std::collections::BTreeMap;

use anyhow::Context;
use coronet_benches::process::{Snapshot, now_ns, own_cpu_ns};
use coronet_benches::report::{Latency, Report, Server};
use hdrhistogram::Histogram;

use crate::fault::Fault;
use crate::{Options, Wait};

/// Counts requests and idle time once the warm-up is over.
pub(crate) struct Meter<'run> {
    options: &'run Options,
    histogram: Histogram<u32>,
    bytes: u64,
    idle_ns: u64,
    idle_since: Option<u64>,
    open_at: u64,
    window: Option<Window>,
    ended_at: Option<u64>,
    outstanding: u64,
}

struct Window {
    started_at: u64,
    ends_at: u64,
    own_cpu_ns: u64,
    server: Option<Snapshot>,
}

impl<'run> Meter<'run> {
    /// The warm-up starts now.
    pub(crate) fn start(options: &'run Options) -> Self {
        let longest_ns = 60_000_000_000;
        Self {
            options,
            histogram: Histogram::new_with_bounds(1, longest_ns, 3).expect("the bounds are sound"),
            bytes: 0,
            idle_ns: 0,
            idle_since: None,
            open_at: warm_at(options),
            window: None,
            ended_at: None,
            outstanding: 0,
        }
    }

    /// Another run with another warm-up begins now.
    pub(crate) fn restart(&mut self) {
        self.open_at = warm_at(self.options);
        self.window = None;
        self.ended_at = None;
    }

    /// Whether the warm-up is still going on at `now`.
    #[inline]
    pub(crate) fn is_warming(&self, now: u64) -> bool {
        now < self.open_at
    }

    /// One request was answered after `latency_ns`.
    #[inline]
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.histogram.saturating_record(latency_ns);
    }

    /// Bytes of a stream have gone out, or come back.
    #[inline]
    pub(crate) fn stream(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// A request that was due is not answered at the end, which is `age_ns` later.
    pub(crate) fn outstanding(&mut self, age_ns: u64) {
        self.outstanding += 1;
        self.histogram.saturating_record(age_ns);
    }

    /// There is nothing to do.
    #[inline]
    pub(crate) fn idle(&mut self) {
        if self.idle_since.is_none() {
            self.idle_since = Some(now_ns());
        }
    }

    /// There is something to do, at `now`.
    #[inline]
    pub(crate) fn busy(&mut self, now: u64) {
        if let Some(since) = self.idle_since.take() {
            self.idle_ns += now.saturating_sub(since);
        }
    }

    /// Whether the run goes on at `now`; opens the window when the warm-up is over.
    #[inline]
    pub(crate) fn goes_on(&mut self, now: u64) -> anyhow::Result<bool> {
        match &self.window {
            Some(window) => Ok(now < window.ends_at),
            None if now < self.open_at => Ok(true),
            None => self.open().map(|()| true),
        }
    }

    /// The last answer that counts is here.
    pub(crate) fn end(&mut self) {
        self.ended_at = Some(now_ns());
    }

    /// Opens the window now, without a warm-up.
    pub(crate) fn begin(&mut self) -> anyhow::Result<()> {
        self.open()
    }

    #[cold]
    fn open(&mut self) -> anyhow::Result<()> {
        let server = self.options.server_pid.map(Snapshot::take).transpose();
        let server = server.context("read the CPU clock of the server")?;
        self.histogram.reset();
        self.bytes = 0;
        self.idle_ns = 0;
        self.idle_since = None;
        let started_at = now_ns();
        let length = u64::try_from(self.options.duration.as_nanos())?;
        let own_cpu_ns = own_cpu_ns();
        self.window = Some(Window { started_at, ends_at: started_at + length, own_cpu_ns, server });
        Ok(())
    }

    /// The figures of the window, which ends now.
    ///
    /// # Errors
    /// Nothing was answered, or the server has ended.
    pub(crate) fn report(&self) -> anyhow::Result<Report> {
        let window = self.window.as_ref().context("the window never opened")?;
        let ended_at = self.ended_at.unwrap_or_else(now_ns);
        let elapsed_ns = ended_at - window.started_at;
        let seconds = elapsed_ns as f64 / 1e9;
        let options = self.options;
        let busy_ns = match options.wait {
            // Time that the run still idles away is not yet accounted for.
            Wait::Spin => {
                let last = self.idle_since.map_or(0, |since| ended_at.saturating_sub(since));
                elapsed_ns.saturating_sub(self.idle_ns + last)
            }
            Wait::Sleep => own_cpu_ns() - window.own_cpu_ns,
        };
        let size = options.size() as u64;
        let answered = self.histogram.len() - self.outstanding;
        let (requests, bytes) = match self.bytes {
            0 => (answered, answered * size),
            bytes => (bytes.div_ceil(size), bytes),
        };
        if requests == 0 {
            return Err(Fault::silent(format!("nothing was answered within {seconds:.1} s")).into());
        }
        let server = match options.server_pid.zip(window.server) {
            Some((pid, before)) => {
                let usage = before.until_now(pid).context("the server has ended")?;
                Some(Server {
                    cpu_seconds: usage.cpu_ns as f64 / 1e9,
                    user_seconds: usage.user_ns as f64 / 1e9,
                    system_seconds: (usage.cpu_ns - usage.user_ns) as f64 / 1e9,
                    cpu_us_per_request: usage.cpu_ns as f64 / 1e3 / requests as f64,
                    cpu_share: usage.cpu_ns as f64 / elapsed_ns as f64,
                    voluntary_switches: usage.voluntary_switches,
                    involuntary_switches: usage.involuntary_switches,
                    rss_kib: usage.rss_kib,
                    kernel_workers: usage.kernel_workers,
                })
            }
            None => None,
        };
        let generator_share = busy_ns as f64 / elapsed_ns as f64;
        let at = |quantile| self.histogram.value_at_quantile(quantile);
        let latency =
            Latency { p50: at(0.5), p90: at(0.9), p99: at(0.99), p999: at(0.999), max: self.histogram.max() };
        Ok(Report {
            load: options.load(),
            seconds,
            requests,
            throughput: requests as f64 / seconds,
            bytes,
            megabytes_per_second: bytes as f64 / seconds / 1e6,
            latency_ns: (!self.histogram.is_empty()).then_some(latency),
            outstanding: self.outstanding,
            generator_share,
            generator_bound: generator_share > 0.97 && server.is_some_and(|server| server.cpu_share < 0.95),
            server,
            memory: None,
            verified: true,
            errors: BTreeMap::new(),
        })
    }
}

/// When a warm-up that begins now is over.
fn warm_at(options: &Options) -> u64 {
    now_ns() + u64::try_from(options.warmup.as_nanos()).unwrap_or(u64::MAX / 2)
}
