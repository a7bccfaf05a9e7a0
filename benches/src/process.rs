//! What another process used: CPU time, context switches, memory, kernel workers.
#![allow(unsafe_code, reason = "reads the CPU clock of another process")]

use std::fs;
use std::io;
use std::mem::MaybeUninit;

/// The counters of a process at one moment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Snapshot {
    /// CPU time of all its threads, to the nanosecond.
    pub cpu_ns: u64,
    /// User and system time in clock ticks: coarse, used for their proportion only.
    ticks: (u64, u64),
    /// Times a thread of it slept.
    voluntary_switches: u64,
    /// Times a thread of it was made to wait.
    involuntary_switches: u64,
}

/// What a process used between two snapshots.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// CPU time, to the nanosecond.
    pub cpu_ns: u64,
    /// The part of it in user mode; the split comes from clock ticks and is coarse.
    pub user_ns: u64,
    /// Times a thread slept.
    pub voluntary_switches: u64,
    /// Times a thread was made to wait.
    pub involuntary_switches: u64,
    /// Resident memory at the end.
    pub rss_kib: u64,
    /// Kernel worker threads seen at the end: work that the ring did not do inline.
    pub kernel_workers: u64,
}

impl Snapshot {
    /// Reads the counters of process `pid`.
    ///
    /// # Errors
    /// There is no such process.
    pub fn take(pid: u32) -> io::Result<Self> {
        let (voluntary_switches, involuntary_switches, _) = threads(pid)?;
        Ok(Self { cpu_ns: cpu_ns(pid)?, ticks: ticks(pid)?, voluntary_switches, involuntary_switches })
    }

    /// What the process used since `self`.
    ///
    /// # Errors
    /// The process has ended.
    pub fn until_now(self, pid: u32) -> io::Result<Usage> {
        let now = Self::take(pid)?;
        let (_, _, kernel_workers) = threads(pid)?;
        let cpu_ns = now.cpu_ns - self.cpu_ns;
        let user = now.ticks.0.saturating_sub(self.ticks.0);
        let system = now.ticks.1.saturating_sub(self.ticks.1);
        let user_ns = match user + system {
            0 => 0,
            all => u64::try_from(u128::from(cpu_ns) * u128::from(user) / u128::from(all)).unwrap_or(cpu_ns),
        };
        Ok(Usage {
            cpu_ns,
            user_ns,
            voluntary_switches: now.voluntary_switches.saturating_sub(self.voluntary_switches),
            involuntary_switches: now.involuntary_switches.saturating_sub(self.involuntary_switches),
            rss_kib: field(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmRSS:"),
            kernel_workers,
        })
    }
}

/// The CPU time that the calling thread has used.
#[must_use]
pub fn own_cpu_ns() -> u64 {
    nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::ThreadCPUTime))
}

/// The time since some fixed moment.
#[must_use]
#[inline]
pub fn now_ns() -> u64 {
    nanoseconds(rustix::time::clock_gettime(rustix::time::ClockId::Monotonic))
}

fn nanoseconds(time: rustix::time::Timespec) -> u64 {
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0)
}

fn cpu_ns(pid: u32) -> io::Result<u64> {
    let pid = libc::pid_t::try_from(pid).map_err(|_| io::ErrorKind::NotFound)?;
    let mut clock: libc::clockid_t = 0;
    // SAFETY: [out-place] `clock` is a valid place to write a clock id to.
    let error = unsafe { libc::clock_getcpuclockid(pid, &raw mut clock) };
    if error != 0 {
        return Err(io::Error::from_raw_os_error(error));
    }
    let mut time = MaybeUninit::<libc::timespec>::uninit();
    // SAFETY: [out-place] `time` is a valid place to write a timespec to.
    let result = unsafe { libc::clock_gettime(clock, time.as_mut_ptr()) };
    if result != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: [out-place] the call succeeded, so it has written all of `time`.
    let time = unsafe { time.assume_init() };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Ok(seconds * 1_000_000_000 + u64::try_from(time.tv_nsec).unwrap_or(0))
}

fn ticks(pid: u32) -> io::Result<(u64, u64)> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    // The name in brackets may hold anything; user and system time are fields 14 and 15.
    let rest = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = rest.split_whitespace().skip(11).map(|text| text.parse().unwrap_or(0));
    Ok((fields.next().unwrap_or(0), fields.next().unwrap_or(0)))
}

/// Voluntary and involuntary switches of all threads, and how many are kernel workers.
fn threads(pid: u32) -> io::Result<(u64, u64, u64)> {
    let (mut voluntary, mut involuntary, mut workers) = (0, 0, 0);
    for thread in fs::read_dir(format!("/proc/{pid}/task"))? {
        // A thread may end while its files are read.
        let Ok(status) = fs::read_to_string(thread?.path().join("status")) else { continue };
        voluntary += field(&status, "voluntary_ctxt_switches:");
        involuntary += field(&status, "nonvoluntary_ctxt_switches:");
        let name = status.lines().next().unwrap_or("");
        workers += u64::from(name.contains("iou-wrk"));
    }
    Ok((voluntary, involuntary, workers))
}

fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or(0)
}
