//! System calls and overflows of a server, seen from outside.
//!
//! System calls are counted in a run of their own, whose times do not count: by `perf`, which hardly
//! disturbs, or by `strace`, which slows the server down but counts the same. Where there is neither, or it
//! is not allowed, nothing is counted, and the report says so.

use std::ffi::OsStr;
use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use rustix::process::Signal;

use crate::compare::child::{Child, Stop};

/// How long a tool may take to attach and to report.
const TOOL_MAX: Duration = Duration::from_secs(5);
/// Perf says nothing when it has attached.
const PERF_ATTACH: Duration = Duration::from_millis(150);

/// What counts system calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Counting {
    Perf,
    Strace,
    Nothing,
}

impl Counting {
    /// The best tool that works here.
    pub(crate) fn find(stop: &Stop) -> Self {
        let works = |program: &str, arguments: &[&str]| {
            let Ok(mut child) = Child::start(OsStr::new(program), arguments, None) else { return false };
            stop.wait_for(TOOL_MAX, || child.ended()).is_ok_and(|status| status.success())
        };
        if works("perf", &["stat", "-x,", "-e", "raw_syscalls:sys_enter", "true"]) {
            Self::Perf
        } else if works("strace", &["-c", "-f", "true"]) {
            Self::Strace
        } else {
            Self::Nothing
        }
    }

    /// For the report.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Perf => "perf stat -e raw_syscalls:sys_enter",
            Self::Strace => "strace -c -f",
            Self::Nothing => "not measured: neither perf nor strace works here",
        }
    }
}

/// What was counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) syscalls: u64,
    /// Completions that did not fit into their queue; known to perf only.
    pub(crate) overflows: u64,
}

/// A tool that counts what a process does.
pub(crate) struct Counter {
    child: Child,
    counting: Counting,
}

impl Counter {
    /// Attaches to process `pid`. `None` if nothing counts here.
    pub(crate) fn attach(counting: Counting, pid: u32, stop: &Stop) -> Result<Option<Self>, String> {
        let pid = pid.to_string();
        let events = "raw_syscalls:sys_enter,io_uring:io_uring_cqe_overflow";
        let started = match counting {
            Counting::Perf => {
                Child::start(OsStr::new("perf"), &["stat", "-x,", "-e", events, "-p", pid.as_str()], None)
            }
            Counting::Strace => Child::start(OsStr::new("strace"), &["-c", "-f", "-p", pid.as_str()], None),
            Counting::Nothing => return Ok(None),
        };
        let mut child = started.map_err(|error| format!("it did not start: {error}"))?;
        let patience = if counting == Counting::Perf { PERF_ATTACH } else { TOOL_MAX };
        let attached = stop.wait_for(patience, || {
            if child.ended().is_some() {
                return Some(false);
            }
            child.complained().contains("attached").then_some(true)
        });
        match attached {
            Ok(false) => Err(child.first_line()),
            Ok(true) | Err(_) => Ok(Some(Self { child, counting })),
        }
    }

    /// Detaches, and says what was counted since.
    pub(crate) fn finish(mut self, stop: &Stop) -> Result<Counts, String> {
        self.child.signal(Signal::INT);
        if stop.wait_for(TOOL_MAX, || self.child.ended()).is_err() {
            return Err("it did not come to an end".to_owned());
        }
        let text = self.child.complained();
        let counts = if self.counting == Counting::Perf { from_perf(&text) } else { from_strace(&text) };
        counts.ok_or_else(|| self.child.first_line())
    }
}

/// Reads `COUNT,,EVENT,…` lines.
fn from_perf(text: &str) -> Option<Counts> {
    let count = |event: &str| {
        let line = text.lines().find(|line| line.contains(event))?;
        line.split(',').next()?.trim().parse::<u64>().ok()
    };
    Some(Counts {
        syscalls: count("raw_syscalls:sys_enter")?,
        overflows: count("io_uring:io_uring_cqe_overflow").unwrap_or(0),
    })
}

/// Reads the line of totals: share, seconds, microseconds per call, calls, perhaps errors, `total`.
fn from_strace(text: &str) -> Option<Counts> {
    let line = text.lines().rfind(|line| line.trim_end().ends_with(" total"))?;
    let syscalls = line.split_whitespace().nth(3)?.parse().ok()?;
    Some(Counts { syscalls, overflows: 0 })
}

/// The rings of a process, by their files below `/proc`.
pub(crate) struct Rings(Vec<PathBuf>);

impl Rings {
    /// Those that `pid` has open now.
    pub(crate) fn of(pid: u32) -> Self {
        let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
        let rings = entries.filter(|entry| {
            let target = fs::read_link(entry.path());
            target.is_ok_and(|target| target.as_os_str() == "anon_inode:[io_uring]")
        });
        Self(
            rings.map(|entry| format!("/proc/{pid}/fdinfo/{}", entry.file_name().display()).into()).collect(),
        )
    }

    /// True if completions wait outside of a full queue at this moment.
    pub(crate) fn overflow(&self) -> bool {
        self.0.iter().any(|path| fs::read_to_string(path).is_ok_and(|text| lists_overflow(&text)))
    }
}

/// Looks for an entry below the heading of overflown completions.
fn lists_overflow(fdinfo: &str) -> bool {
    let mut lines = fdinfo.lines().skip_while(|line| !line.starts_with("CqOverflowList:"));
    lines.next();
    lines.next().is_some_and(|line| line.trim_start().starts_with("user_data"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_read_from_what_perf_prints() {
        let text = "109,,raw_syscalls:sys_enter,744545,100.00,,\n2,,io_uring:io_uring_cqe_overflow,744545,100.00,,\n";
        assert_eq!(from_perf(text), Some(Counts { syscalls: 109, overflows: 2 }));
        let text = "109,,raw_syscalls:sys_enter,1,100.00,,\n<not supported>,,io_uring:io_uring_cqe_overflow,0,100,,\n";
        assert_eq!(from_perf(text), Some(Counts { syscalls: 109, overflows: 0 }));
        assert_eq!(from_perf("event syntax error"), None);
    }

    #[test]
    fn counts_read_from_what_strace_prints() {
        let text = "% time     seconds  usecs/call     calls    errors syscall\n\
            ------ ----------- ----------- --------- --------- ----------------\n \
            60.00    0.000300           3       100           epoll_wait\n\
            ------ ----------- ----------- --------- --------- ----------------\n\
            100.00    0.000500           2       150         7 total\n";
        assert_eq!(from_strace(text), Some(Counts { syscalls: 150, overflows: 0 }));
        assert_eq!(from_strace("strace: attach: Operation not permitted"), None);
    }

    #[test]
    fn an_overflow_is_an_entry_below_its_heading() {
        assert!(!lists_overflow("SqMask:\t0xff\nCqOverflowList:\n"));
        assert!(!lists_overflow("CqOverflowList:\nNAPI:\tdisabled\n"));
        assert!(lists_overflow("CqOverflowList:\n  user_data=7, res=0, flags=0\n"));
    }
}
