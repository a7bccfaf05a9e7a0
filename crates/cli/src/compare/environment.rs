//! What the machine and the tools are: everything that a reader of figures asks next.

use std::env;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::compare::report::Environment;
use crate::machine;

/// Looks around. What cannot be found is said to be unknown.
pub(crate) fn gather(root: Option<&Path>) -> Environment {
    let unknown = || "unknown".to_owned();
    let cpuinfo = |name: &str| machine::field("/proc/cpuinfo", name);
    let memory_kib = machine::field("/proc/meminfo", "MemTotal")
        .and_then(|text| text.split_whitespace().next()?.parse::<u64>().ok());
    Environment {
        kernel: coronet::ring::kernel_release(),
        cpu: cpuinfo("model name")
            .or_else(|| cpuinfo("Model"))
            .unwrap_or_else(|| env::consts::ARCH.to_owned()),
        cpus: machine::allowed_cpus().len(),
        governor: machine::first_line("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
            .unwrap_or_else(unknown),
        hypervisor: cpuinfo("flags").is_some_and(|flags| flags.split(' ').any(|flag| flag == "hypervisor")),
        memory_mib: memory_kib.unwrap_or(0) / 1024,
        load_average: machine::first_line("/proc/loadavg")
            .map(|line| line.split(' ').take(3).collect::<Vec<_>>().join(" "))
            .unwrap_or_else(unknown),
        rustc: said("rustc", &["--version"], root).unwrap_or_else(unknown),
        flags: match env::var("RUSTFLAGS") {
            Ok(flags) if !flags.trim().is_empty() => format!("--release, RUSTFLAGS={}", flags.trim()),
            _ => "--release".to_owned(),
        },
        revision: root
            .and_then(|root| said("git", &["describe", "--always", "--dirty"], Some(root)))
            .unwrap_or_else(unknown),
        congestion: machine::first_line("/proc/sys/net/ipv4/tcp_congestion_control").unwrap_or_else(unknown),
    }
}

/// What is to be said before anybody believes the figures.
pub(crate) fn warnings(environment: &Environment) -> Vec<String> {
    let mut warnings = Vec::new();
    let load = environment.load_average.split(' ').next().and_then(|text| text.parse::<f64>().ok());
    if environment.cpus < 2 {
        warnings.push(
            "ONE CPU: server and generator shared it, unpinned. Ratios are distorted; throughput means little."
                .to_owned(),
        );
    }
    if let Some(load) = load.filter(|load| *load > 0.5) {
        warnings
            .push(format!("the load average was {load:.2} before the start: other programs were running"));
    }
    if environment.governor != "unknown" && environment.governor != "performance" {
        warnings.push(format!("the CPU frequency governor is {}, not performance", environment.governor));
    }
    if environment.congestion.starts_with("bbr") {
        warnings.push(
            "TCP paces what it sends (congestion control bbr), and on loopback its timers cost more than servers \
             differ: as root, `unshare -n sh -c 'ip link set lo up; sysctl -w \
             net.ipv4.tcp_congestion_control=reno; coronet compare'` measures without"
                .to_owned(),
        );
    }
    warnings
}

fn said(program: &str, arguments: &[&str], directory: Option<&Path>) -> Option<String> {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
    if let Some(directory) = directory {
        command.current_dir(directory);
    }
    let output = command.output().ok().filter(|output| output.status.success())?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (!text.is_empty()).then_some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_machine_that_paces_is_told_how_not_to() {
        let found = Environment { cpus: 2, congestion: "bbr".to_owned(), ..gather(None) };
        assert!(warnings(&found).iter().any(|line| line.contains("congestion control bbr")));
        let found = Environment { congestion: "cubic".to_owned(), ..found };
        assert!(!warnings(&found).iter().any(|line| line.contains("congestion")));
    }
}
