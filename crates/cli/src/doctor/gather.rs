//! Looks at the machine. It judges nothing.

use std::collections::BTreeSet;
use std::env;
use std::path::Path;

use coronet::{Backend, Refusal, Runtime};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

use crate::doctor::facts::{Cause, Chosen, Facts, Refused};
use crate::machine;

/// Looks around.
pub(crate) fn gather() -> Facts {
    let cpus = machine::allowed_cpus();
    let cores: BTreeSet<Vec<usize>> = cpus.iter().map(|&cpu| machine::siblings(cpu)).collect();
    let nofile = getrlimit(Resource::Nofile);
    Facts {
        kernel: coronet::ring::kernel_release(),
        backend: backend(),
        ring_refused: ring_refused(),
        memlock: getrlimit(Resource::Memlock).current,
        nofile: (nofile.current, nofile.maximum),
        cpus: cpus.len(),
        cores: cores.len(),
        quota: quota(),
        container: container(),
        seccomp: machine::field("/proc/self/status", "Seccomp").and_then(|text| text.parse().ok()),
        io_uring_disabled: number("/proc/sys/kernel/io_uring_disabled"),
        backend_variable: env::var("CORONET_BACKEND").ok(),
        mask_variable: env::var("CORONET_MASK").ok().filter(|mask| !mask.is_empty()),
    }
}

/// Sets up a runtime as any program does, and asks it.
fn backend() -> Result<Chosen, Refused> {
    match Runtime::new() {
        Ok(runtime) => {
            let report = runtime.backend();
            Ok(Chosen {
                name: report.name.to_owned(),
                why: report.why.clone(),
                capabilities: report.capabilities.each().map(|one| (one.name, one.there)).collect(),
            })
        }
        Err(error) => Err(Refused { cause: cause(&error), message: error.to_string() }),
    }
}

fn cause(error: &std::io::Error) -> Cause {
    let refused = Refusal::of(error).map(|refusal| refusal.errno);
    match refused.or_else(|| coronet::ring::error::errno(error)).map(Errno::from_raw_os_error) {
        Some(Errno::PERM | Errno::ACCESS) => Cause::Forbidden,
        Some(Errno::NOSYS) => Cause::Absent,
        Some(Errno::NOMEM) => Cause::Memory,
        _ => Cause::Other,
    }
}

/// Asked by name, which no variable overrides: who runs on epoll may want to know why, or that it need not be.
fn ring_refused() -> Option<Cause> {
    Runtime::builder().backend(Backend::Uring).build().err().map(|error| cause(&error))
}

fn container() -> Option<String> {
    let marks =
        [("/.dockerenv", "Docker (/.dockerenv)"), ("/run/.containerenv", "Podman (/run/.containerenv)")];
    if let Some((_, name)) = marks.into_iter().find(|(path, _)| Path::new(path).exists()) {
        return Some(name.to_owned());
    }
    let groups = std::fs::read_to_string("/proc/1/cgroup").unwrap_or_default();
    let words = ["docker", "kubepods", "containerd", "lxc", "podman"];
    words.into_iter().find(|word| groups.contains(word)).map(|word| format!("{word} (/proc/1/cgroup)"))
}

/// The quota of our own control group, version 2 or 1.
fn quota() -> Option<f64> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let own = groups.lines().find_map(|line| line.strip_prefix("0::")).unwrap_or("/");
    let second = [format!("/sys/fs/cgroup{own}/cpu.max"), "/sys/fs/cgroup/cpu.max".to_owned()];
    if let Some(line) = second.iter().find_map(|path| machine::first_line(path)) {
        return share(&line);
    }
    let first = |name: &str| machine::first_line(&format!("/sys/fs/cgroup/cpu/cpu.cfs_{name}_us"));
    share(&format!("{} {}", first("quota")?, first("period")?))
}

/// `QUOTA PERIOD` as a number of CPUs; `max` or a negative quota is none.
fn share(text: &str) -> Option<f64> {
    let (quota, period) = text.split_once(' ')?;
    let (quota, period) = (quota.parse::<f64>().ok()?, period.parse::<f64>().ok()?);
    (quota > 0.0 && period > 0.0).then(|| quota / period)
}

fn number(path: &str) -> Option<u32> {
    machine::first_line(path)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quota_reads_in_both_versions() {
        assert_eq!(share("150000 100000"), Some(1.5));
        assert_eq!(share("max 100000"), None);
        assert_eq!(share("-1 100000"), None);
    }
}
