//! The clockwork of a run: warm-up, the measured window, idle time, the report.

use anyhow::Context;
use coronet_benches::process::{Snapshot, now_ns, own_cpu_ns};
use coronet_benches::report::{Latency, Report, Server};
use hdrhistogram::Histogram;

use crate::{Mode, Options, Wait};

/// Counts messages and idle time once the warm-up is over.
pub(crate) struct Meter<'run> {
    options: &'run Options,
    histogram: Histogram<u32>,
    messages: u64,
    idle_ns: u64,
    idle_since: Option<u64>,
    open_at: u64,
    window: Option<Window>,
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
            messages: 0,
            idle_ns: 0,
            idle_since: None,
            open_at: now_ns() + u64::try_from(options.warmup.as_nanos()).unwrap_or(u64::MAX / 2),
            window: None,
        }
    }

    /// One message came back after `latency_ns`.
    #[inline]
    pub(crate) fn record(&mut self, latency_ns: u64) {
        self.messages += 1;
        self.histogram.saturating_record(latency_ns);
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

    #[cold]
    fn open(&mut self) -> anyhow::Result<()> {
        let server = self.options.server_pid.map(Snapshot::take).transpose();
        let server = server.context("read the CPU clock of the server")?;
        self.histogram.reset();
        self.messages = 0;
        self.idle_ns = 0;
        self.idle_since = None;
        let started_at = now_ns();
        let length = u64::try_from(self.options.duration.as_nanos())?;
        let own_cpu_ns = own_cpu_ns();
        self.window = Some(Window { started_at, ends_at: started_at + length, own_cpu_ns, server });
        Ok(())
    }

    /// The figures of the window, which ends now.
    pub(crate) fn report(&self) -> anyhow::Result<Report> {
        let window = self.window.as_ref().context("the window never opened")?;
        let elapsed_ns = now_ns() - window.started_at;
        let seconds = elapsed_ns as f64 / 1e9;
        let options = self.options;
        let busy_ns = match options.wait {
            Wait::Spin => elapsed_ns.saturating_sub(self.idle_ns),
            Wait::Sleep => own_cpu_ns() - window.own_cpu_ns,
        };
        let server = match options.server_pid.zip(window.server) {
            Some((pid, before)) => {
                let usage = before.until_now(pid).context("the server has ended")?;
                Some(Server {
                    usage,
                    cpu_us_per_message: usage.cpu_ns as f64 / 1e3 / self.messages.max(1) as f64,
                    cpu_share: usage.cpu_ns as f64 / elapsed_ns as f64,
                })
            }
            None => None,
        };
        let generator_busy = busy_ns as f64 / elapsed_ns as f64;
        let microseconds = |ns: u64| ns as f64 / 1e3;
        let at = |quantile| microseconds(self.histogram.value_at_quantile(quantile));
        let per_second = self.messages as f64 / seconds;
        Ok(Report {
            mode: match options.mode {
                Mode::Echo => "echo".to_owned(),
                Mode::Churn => "churn".to_owned(),
            },
            connections: options.connections,
            size: options.size,
            pipeline: options.pipeline,
            seconds,
            messages: self.messages,
            per_second,
            megabytes_per_second: per_second * options.size as f64 / 1e6,
            latency: Latency {
                p50_us: at(0.5),
                p99_us: at(0.99),
                p999_us: at(0.999),
                max_us: microseconds(self.histogram.max()),
            },
            generator_busy,
            generator_bound: generator_busy > 0.97 && server.is_some_and(|server| server.cpu_share < 0.95),
            server,
        })
    }
}
