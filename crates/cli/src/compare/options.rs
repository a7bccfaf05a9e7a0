//! The options of `coronet compare`.

use std::path::PathBuf;

use clap::Args;

/// Builds Coronet and its rivals, measures them side by side, and writes a report. Losses come first.
///
/// Exit code 0: done. 1: worse than the baseline. 2: bad usage. 3: it could not measure. 130: interrupted;
/// a partial report is there.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Under a minute of measuring: fewer rows and cells.
    #[arg(long, conflicts_with = "full")]
    pub(crate) quick: bool,
    /// The sweep: 1 to 4096 connections, 64 B to 256 KiB, with and without pipelining, and 9000 idle ones. Takes long.
    #[arg(long)]
    pub(crate) full: bool,
    /// Only these workloads (echo, pipelined, churn, stream, proxy, relay, latency, idle) or cells (`--list` names them).
    #[arg(long, value_delimiter = ',', value_name = "WORDS")]
    pub(crate) only: Vec<String>,
    /// Only these rows beside coronet (`--list` names them).
    #[arg(long, value_delimiter = ',', value_name = "NAMES")]
    pub(crate) rivals: Vec<String>,
    /// Rounds per cell; one round measures every row twice, in mirrored order.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub(crate) rounds: Option<u32>,
    /// Other rounds for one workload or cell, as `echo-64x50x1=40`. More rounds, narrower intervals.
    #[arg(long, value_name = "WORD=N", value_delimiter = ',', value_parser = rounds_of)]
    pub(crate) rounds_of: Vec<(String, usize)>,
    /// Seconds per measurement [default: what fits into about three minutes].
    #[arg(long, value_name = "S", value_parser = seconds)]
    pub(crate) duration: Option<f64>,
    /// Requests per second of the latency cells [default: half of what the slowest row can do].
    #[arg(long, value_name = "R", value_parser = rate)]
    pub(crate) rate: Option<f64>,
    /// Where the report goes.
    #[arg(long, value_name = "DIR", default_value = "target/compare")]
    pub(crate) out: PathBuf,
    /// An older report.json; Coronet's ratios to the reference row are compared with it.
    #[arg(long, value_name = "FILE")]
    pub(crate) baseline: Option<PathBuf>,
    /// How much worse than the baseline is a failure.
    #[arg(long, value_name = "PERCENT", default_value = "5%", requires = "baseline", value_parser = percent)]
    pub(crate) fail_under: f64,
    /// Say what would run, and end.
    #[arg(long)]
    pub(crate) list: bool,
    /// Measure nothing: make the page and the table again from this report.json.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["list", "only", "rivals", "quick", "full"])]
    pub(crate) render: Option<PathBuf>,
    /// Take the programs from this directory, and build nothing.
    #[arg(long, value_name = "DIR", hide = true)]
    pub(crate) programs: Option<PathBuf>,
}

fn positive(text: &str, what: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if value.is_finite() && value > 0.0 => Ok(value),
        _ => Err(format!("{text:?} is not {what} above 0")),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = positive(text, "a number of seconds")?;
    if seconds > 600.0 { Err("more than 600 seconds for one measurement".into()) } else { Ok(seconds) }
}

fn rounds_of(text: &str) -> Result<(String, usize), String> {
    let parts = text.split_once('=').map(|(word, rounds)| (word, rounds.parse::<usize>()));
    match parts {
        Some((word, Ok(rounds))) if (1..=1000).contains(&rounds) => Ok((word.to_owned(), rounds)),
        _ => Err(format!("{text:?} is not WORD=N, a workload or a cell and 1 to 1000 rounds")),
    }
}

fn rate(text: &str) -> Result<f64, String> {
    positive(text, "a number of requests per second")
}

/// `5%` or `5` as 0.05.
fn percent(text: &str) -> Result<f64, String> {
    let percent = positive(text.strip_suffix('%').unwrap_or(text), "a percentage")?;
    if percent >= 100.0 { Err(format!("{text:?} is not below 100 %")) } else { Ok(percent / 100.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_reads_with_and_without_its_sign() {
        assert_eq!(percent("5%"), Ok(0.05));
        assert_eq!(percent("5"), Ok(0.05));
        assert!(percent("0").is_err() && percent("100%").is_err() && percent("five").is_err());
    }

    #[test]
    fn rounds_of_a_cell_are_its_name_and_a_number() {
        assert_eq!(rounds_of("echo=40"), Ok(("echo".to_owned(), 40)));
        assert!(
            ["echo", "echo=", "echo=0", "echo=many", "echo=1001"].map(rounds_of).iter().all(Result::is_err)
        );
    }
}
