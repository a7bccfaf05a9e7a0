//! Figures as people read them. One place, so that the terminal and the page agree.

use crate::compare::cell::Workload;
use crate::compare::generator::Sample;
use crate::compare::report::{Comparison, Figures};

/// Three significant digits, with thousands as `k` and millions as `M`.
pub(crate) fn count(value: f64) -> String {
    match value.abs() {
        size if size >= 999_500.0 => format!("{}M", three(value / 1e6)),
        size if size >= 9_995.0 => format!("{}k", three(value / 1e3)),
        _ => three(value),
    }
}

/// Three significant digits.
pub(crate) fn three(value: f64) -> String {
    match value.abs() {
        size if size >= 99.95 => format!("{value:.0}"),
        size if size >= 9.995 => format!("{value:.1}"),
        size if size >= 0.9995 => format!("{value:.2}"),
        0.0 => "0".to_owned(),
        _ => format!("{value:.3}"),
    }
}

/// Microseconds, as milliseconds if many.
pub(crate) fn us(value: f64) -> String {
    if value >= 9_995.0 { format!("{} ms", three(value / 1e3)) } else { format!("{} µs", three(value)) }
}

/// Microseconds on an axis: powers of ten.
pub(crate) fn us_axis(value: f64) -> String {
    match value {
        size if size >= 999_999.0 => format!("{:.0} s", value / 1e6),
        size if size >= 999.0 => format!("{:.0} ms", value / 1e3),
        size if size >= 0.999 => format!("{value:.0} µs"),
        _ => format!("{:.0} ns", value * 1e3),
    }
}

/// Bytes, as KiB if many.
pub(crate) fn bytes(value: f64) -> String {
    if value.abs() >= 1024.0 { format!("{} KiB", three(value / 1024.0)) } else { format!("{value:.0} B") }
}

/// `1 cell`, `2 cells`.
pub(crate) fn counted(count: usize, word: &str) -> String {
    if count == 1 { format!("1 {word}") } else { format!("{count} {word}s") }
}

/// `3 min 5 s`.
pub(crate) fn minutes(seconds: f64) -> String {
    let whole = seconds.round().max(0.0) as u64;
    if whole < 60 { format!("{whole} s") } else { format!("{} min {} s", whole / 60, whole % 60) }
}

/// `0.98 (0.95–1.01)`.
pub(crate) fn ratio(one: &Comparison) -> String {
    format!("{:.2} ({:.2}–{:.2})", one.ratio, one.low, one.high)
}

/// What is shown while it runs.
pub(crate) fn headline_figure(sample: &Sample) -> String {
    match sample.memory {
        Some(memory) => format!("{} each", bytes(memory.user)),
        None => match sample.cpu_us {
            Some(cpu) => format!("{}/s, {} CPU each", count(sample.per_second), us(cpu)),
            None => format!("{}/s", count(sample.per_second)),
        },
    }
}

/// Throughput as a cell of this workload shows it.
pub(crate) fn throughput(workload: Workload, figures: &Figures) -> Option<String> {
    match workload {
        Workload::Stream | Workload::Relay => {
            figures.megabytes_per_second.map(|value| format!("{} MB/s", count(value)))
        }
        Workload::Idle => None,
        Workload::Echo | Workload::Pipelined | Workload::Churn | Workload::Proxy | Workload::Latency => {
            figures.per_second.map(|value| format!("{}/s", count(value.median)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_keep_three_digits() {
        let texts: Vec<String> = [0.0, 0.0274, 0.274, 2.7449, 27.449, 274.49, 2744.9, 27_449.0, 999_600.0]
            .into_iter()
            .map(count)
            .collect();
        assert_eq!(texts, ["0", "0.027", "0.274", "2.74", "27.4", "274", "2745", "27.4k", "1.00M"]);
    }

    #[test]
    fn seconds_read_as_minutes() {
        assert_eq!((minutes(59.4), minutes(185.0)), ("59 s".to_owned(), "3 min 5 s".to_owned()));
    }
}
