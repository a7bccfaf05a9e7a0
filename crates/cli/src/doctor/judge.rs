//! From facts to findings: what is fine, what is not, and what to do about it. Pure.

use serde::Serialize;

use crate::doctor::facts::{Cause, Facts, Refused};

/// How good something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Mark {
    /// As it should be.
    Good,
    /// Works, and could be better.
    Fair,
    /// Stands in the way.
    Bad,
}

/// One line of the doctor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Finding {
    pub(crate) mark: Mark,
    pub(crate) topic: &'static str,
    pub(crate) says: String,
    /// What to do, or what Coronet does without it.
    pub(crate) advice: Option<String>,
}

/// What each capability is, which kernel brings it, and what happens without.
const CAPABILITIES: [(&str, &str, &str); 12] = [
    (
        "waits_nonblocking",
        "5.11",
        "spliced sockets change their mode for each call: 2 to 5 % of a proxied stream",
    ),
    ("poll_multi", "5.13", "a poll is armed anew after each event"),
    ("msg_ring", "5.18", "other cores are woken through an eventfd, as now"),
    ("buffer_groups", "5.19", "each stream receives into a buffer of its own: more memory per connection"),
    ("accept_multi", "5.19", "one accept per connection"),
    ("recv_multi", "6.0", "one receive per message, into a buffer of the stream's own"),
    ("send_zc", "6.0", "all sends copy, as they do on loopback anyway"),
    ("send_zc_report", "6.1", "only `send_zc` lends to the network; no other write tries it by itself"),
    ("bundles", "6.10", "a stream on buffers of 16 KiB gets one completion for each"),
    ("incremental", "6.12", "64 receive buffers of 16 KiB in place of 8 that are shared by many messages"),
    ("min_wait", "6.12", "the ring wakes at the first completion"),
    ("file_table", "6.13", "each send looks its socket up by number: 1 to 2 % of a small message"),
];

/// The memory that the queues of a dozen cores take.
const MEMLOCK_MIN: u64 = 8 << 20;
/// A server with thousands of connections needs as many descriptors.
const NOFILE_MIN: u64 = 10_000;
/// Rings are not counted against locked memory since this kernel.
const UNCOUNTED_SINCE: (u32, u32) = (5, 12);
/// Completions run when the program asks for them, since this kernel.
const DEFERRED: &str = "DEFER_TASKRUN";

/// Judges everything, in the order in which a reader needs it.
pub(crate) fn judge(facts: &Facts) -> Vec<Finding> {
    let mut findings = vec![backend(facts)];
    findings.extend(facts.mask_variable.as_deref().map(mask));
    if let Ok(chosen) = &facts.backend {
        if chosen.name == "io_uring" {
            findings.push(deferred(&chosen.why));
            findings.extend(chosen.capabilities.iter().filter_map(|&(name, there)| capability(name, there)));
        } else {
            let says = format!("not used: {}{}", chosen.why, besides(facts));
            findings.push(fair("io_uring", says, &io_uring_advice(facts)));
        }
    }
    findings.extend([memlock(facts), nofile(facts), cpus(facts), quota(facts), container(facts)]);
    findings.extend([seccomp(facts), sysctl(facts)]);
    findings
}

fn good(topic: &'static str, says: impl Into<String>) -> Finding {
    Finding { mark: Mark::Good, topic, says: says.into(), advice: None }
}

fn fair(topic: &'static str, says: impl Into<String>, advice: &str) -> Finding {
    Finding { mark: Mark::Fair, topic, says: says.into(), advice: Some(advice.to_owned()) }
}

fn bad(topic: &'static str, says: impl Into<String>, advice: &str) -> Finding {
    Finding { mark: Mark::Bad, topic, says: says.into(), advice: Some(advice.to_owned()) }
}

fn backend(facts: &Facts) -> Finding {
    let chosen_by = match facts.backend_variable.as_deref() {
        None | Some("auto" | "") => String::new(),
        Some(value) => format!("; CORONET_BACKEND={value}"),
    };
    match &facts.backend {
        Ok(chosen) => good("backend", format!("{} ({}){chosen_by}", chosen.name, chosen.why)),
        Err(Refused { message, .. }) => {
            let says = format!("none, Linux {}: {message}{chosen_by}", facts.kernel);
            bad("backend", says, &io_uring_advice(facts))
        }
    }
}

/// That io_uring would not work either, where somebody asks for epoll.
fn besides(facts: &Facts) -> &'static str {
    let asked = facts.backend_variable.as_deref() == Some("epoll");
    match facts.ring_refused.filter(|_| asked) {
        None => "",
        Some(Cause::Forbidden) => "; it would be refused with EPERM or EACCES",
        Some(Cause::Absent) => "; it would be refused with ENOSYS",
        Some(Cause::Memory) => "; it would be refused with ENOMEM",
        Some(Cause::Other) => "; it would be refused",
    }
}

/// What is hidden is not the kernel's fault.
fn mask(names: &str) -> Finding {
    let says = format!("hides {names}");
    fair("CORONET_MASK", says, "it is for tests: without it the kernel may have what is not there below")
}

/// What to do so that io_uring works.
fn io_uring_advice(facts: &Facts) -> String {
    let cause = facts.ring_refused;
    if cause.is_none() {
        return "io_uring works here: leave CORONET_BACKEND unset to use it".to_owned();
    }
    match (facts.io_uring_disabled, facts.seccomp, cause) {
        (Some(2), _, _) => "sysctl -w kernel.io_uring_disabled=0".to_owned(),
        (Some(1), _, Some(Cause::Forbidden)) => {
            "join the group of kernel.io_uring_group, or sysctl -w kernel.io_uring_disabled=0".to_owned()
        }
        (_, Some(2), Some(Cause::Forbidden)) => {
            "allow io_uring_setup, io_uring_enter and io_uring_register in the seccomp profile; with Docker: \
             --security-opt seccomp=deploy/seccomp.json"
                .to_owned()
        }
        (_, _, Some(Cause::Absent)) => {
            "run Linux 5.11 or newer; 6.13 has everything; a sandbox such as gVisor may hide it, too"
                .to_owned()
        }
        (_, _, Some(Cause::Memory)) => "raise the limit of locked memory: ulimit -l unlimited".to_owned(),
        (_, _, Some(Cause::Forbidden)) => {
            "ask whoever runs this machine what forbids io_uring here".to_owned()
        }
        (_, _, Some(Cause::Other) | None) => "look at the message above".to_owned(),
    }
}

fn deferred(why: &str) -> Finding {
    const TOPIC: &str = "deferred completions";
    if why.contains(DEFERRED) {
        good(TOPIC, "6.1")
    } else {
        fair(
            TOPIC,
            "not there (6.1)",
            "completions interrupt the program: expect 10 to 30 % less; newer kernels have it",
        )
    }
}

fn capability(name: &str, there: bool) -> Option<Finding> {
    let (topic, kernel, without) = CAPABILITIES.iter().find(|(known, ..)| *known == name)?;
    Some(if there {
        good(topic, *kernel)
    } else {
        fair(topic, format!("not there ({kernel})"), &format!("without it: {without}"))
    })
}

fn memlock(facts: &Facts) -> Finding {
    const TOPIC: &str = "locked memory";
    let counted = version(&facts.kernel).is_none_or(|version| version < UNCOUNTED_SINCE);
    match facts.memlock {
        None => good(TOPIC, "no limit"),
        Some(limit) if limit >= MEMLOCK_MIN => good(TOPIC, mebibytes(limit)),
        Some(limit) if counted => bad(
            TOPIC,
            mebibytes(limit),
            "this kernel counts rings against it: ulimit -l unlimited, or LimitMEMLOCK=infinity in the unit",
        ),
        Some(limit) => fair(
            TOPIC,
            mebibytes(limit),
            "enough for rings since 5.12; registered buffers need more: ulimit -l unlimited",
        ),
    }
}

fn nofile(facts: &Facts) -> Finding {
    const TOPIC: &str = "open files";
    let (soft, hard) = facts.nofile;
    match (soft, hard) {
        (None, _) => good(TOPIC, "no limit"),
        (Some(soft), _) if soft >= NOFILE_MIN => good(TOPIC, soft.to_string()),
        (Some(soft), hard) if hard.is_none_or(|hard| hard > soft) => fair(
            TOPIC,
            soft.to_string(),
            &format!(
                "one per connection: ulimit -n {}",
                hard.map_or_else(|| "65536".to_owned(), |hard| hard.to_string())
            ),
        ),
        (Some(soft), _) => fair(
            TOPIC,
            soft.to_string(),
            "one per connection, and this is the hard limit: LimitNOFILE= in the unit",
        ),
    }
}

fn cpus(facts: &Facts) -> Finding {
    const TOPIC: &str = "CPUs";
    let Facts { cpus, cores, .. } = *facts;
    if cores < cpus {
        let says = format!("{cpus} on {cores} cores");
        fair(TOPIC, says, "siblings share a core: expect less than twice from two of them")
    } else {
        good(TOPIC, format!("{cpus}, no siblings"))
    }
}

fn quota(facts: &Facts) -> Finding {
    const TOPIC: &str = "CPU quota";
    match facts.quota {
        None => good(TOPIC, "none"),
        Some(quota) if quota >= facts.cpus as f64 => good(TOPIC, format!("{quota:.1} CPUs")),
        Some(quota) => fair(
            TOPIC,
            format!("{quota:.1} of {} CPUs", facts.cpus),
            &format!("start {} cores, or be paused in every period", (quota.floor() as usize).max(1)),
        ),
    }
}

fn container(facts: &Facts) -> Finding {
    const TOPIC: &str = "container";
    match &facts.container {
        None => good(TOPIC, "none"),
        Some(what) if facts.ring_refused.is_none() => good(TOPIC, what.clone()),
        Some(what) => fair(TOPIC, what.clone(), "its profile may forbid io_uring: see seccomp below"),
    }
}

fn seccomp(facts: &Facts) -> Finding {
    const TOPIC: &str = "seccomp";
    match facts.seccomp {
        None => fair(TOPIC, "unknown", "/proc/self/status does not say"),
        Some(0) => good(TOPIC, "off"),
        Some(_) if facts.ring_refused == Some(Cause::Forbidden) => {
            bad(TOPIC, "a filter is on", "it is the likely reason for the refusal above")
        }
        // Some sandboxes answer as if the call did not exist.
        Some(_) if facts.ring_refused == Some(Cause::Absent) => {
            fair(TOPIC, "a filter is on", "it may be what hides io_uring, if the kernel has it")
        }
        Some(_) if facts.ring_refused.is_some() => good(TOPIC, "a filter is on; io_uring fails otherwise"),
        Some(_) => good(TOPIC, "a filter is on, and lets io_uring pass"),
    }
}

fn sysctl(facts: &Facts) -> Finding {
    const TOPIC: &str = "kernel.io_uring_disabled";
    match facts.io_uring_disabled {
        None => good(TOPIC, "this kernel has no such switch (6.6)"),
        Some(0) => good(TOPIC, "0: allowed for all"),
        Some(1) if facts.ring_refused.is_none() => good(TOPIC, "1: allowed for this user"),
        Some(1) => bad(TOPIC, "1: privileged users and one group only", &io_uring_advice(facts)),
        Some(value) => {
            bad(TOPIC, format!("{value}: forbidden for all"), "sysctl -w kernel.io_uring_disabled=0")
        }
    }
}

fn mebibytes(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

/// The first two numbers of a kernel's name.
fn version(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
