//! What the doctor says where io_uring is refused or made small: the truth, as one text.
//!
//! Facts that differ between machines (kernels, CPUs, limits) are replaced before texts are compared.

use std::process::{Command, Output};

use rustix::thread::CapabilitySet;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// `io_uring_setup`, `io_uring_enter`, `io_uring_register`, on every architecture.
const CALLS: [i64; 3] = [425, 426, 427];
const EPERM: u32 = 1;
const ENOSYS: u32 = 38;

fn doctor() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coronet"));
    command.arg("doctor").env_remove("CORONET_BACKEND").env_remove("CORONET_MASK");
    command
}

/// The doctor's text without the lines that are about the machine, and not about io_uring.
fn about_the_ring(output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let mut kept = String::new();
    let mut keep = false;
    for line in text.lines() {
        if line.starts_with(['✓', '!', '✗']) {
            keep = ["backend", "io_uring", "seccomp"]
                .iter()
                .any(|topic| line.chars().skip(1).collect::<String>().trim().starts_with(topic));
        }
        if keep && line.starts_with(['✓', '!', '✗', ' ']) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// Runs the doctor where these calls fail so. The filter is that of one thread, and of what it starts.
fn doctor_where_refused(errno: u32) -> String {
    let rules = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    let asked = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("filters work here");
        doctor().output().expect("it starts")
    });
    let output = asked.join().expect("no panic");
    assert!(output.status.success(), "Coronet runs here, on epoll: {output:?}");
    about_the_ring(&output)
}

#[test]
fn where_a_filter_forbids_io_uring_it_says_so_and_what_to_allow() {
    insta::assert_snapshot!(doctor_where_refused(EPERM));
}

#[test]
fn where_a_filter_hides_io_uring_it_does_not_blame_the_kernel_alone() {
    insta::assert_snapshot!(doctor_where_refused(ENOSYS));
}

#[test]
fn where_the_environment_asks_for_epoll_nothing_is_called_refused() {
    let output = doctor().env("CORONET_BACKEND", "epoll").output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = about_the_ring(&output);
    assert!(
        text.starts_with("✓ backend                  epoll (as asked for); CORONET_BACKEND=epoll\n"),
        "{text}"
    );
    assert!(!text.contains("refused"), "{text}");
}

/// The trap: the limit is of no consequence where rings are not counted, and for those who may pass it: root
/// has a capability for that, so what is started here does not.
#[test]
fn with_little_locked_memory_it_tells_the_limit_and_whether_the_ring_is_there() {
    let script = "ulimit -l 64 && grep CapEff /proc/self/status >&2 && exec \"$0\" doctor";
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(doctor().get_program());
    command.env_remove("CORONET_BACKEND").env_remove("CORONET_MASK");
    let asked = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::remove_capability_from_bounding_set(CapabilitySet::IPC_LOCK).expect("root may");
        }
        command.output().expect("it starts")
    });
    let output = asked.join().expect("no panic");
    let said = String::from_utf8_lossy(&output.stderr);
    let capabilities = said.lines().find_map(|line| line.strip_prefix("CapEff:")).expect("procfs");
    let capabilities = u64::from_str_radix(capabilities.trim(), 16).expect("a number");
    assert_eq!(capabilities & CapabilitySet::IPC_LOCK.bits(), 0, "it may pass the limit: {said}");
    let text = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{text}");
    assert!(text.lines().any(|line| line.contains("locked memory") && line.contains("64 KiB")), "{text}");
}
