//! What the doctor says where io_uring is refused or made small: the truth, as one text.
//!
//! Facts that differ between machines (kernels, CPUs, limits) are replaced before texts are compared.

use std::io::Write;
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

/// The doctor's lines on these topics, with the kernel's name replaced.
fn about(topics: &[&str], output: &Output) -> String {
    let text = String::from_utf8_lossy(&output.stdout);
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    let (mut kept, mut keep) = (String::new(), false);
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix(['✓', '!', '✗']) {
            let said = rest.trim_start();
            keep = topics.iter().any(|topic| said.starts_with(&format!("{topic} ")));
        }
        if keep && line.starts_with(['✓', '!', '✗', ' ']) {
            kept.push_str(&line.replace(&release, "RELEASE"));
            kept.push('\n');
        }
    }
    kept
}

/// The doctor's text without the lines that are about the machine, and not about io_uring.
fn about_the_ring(output: &Output) -> String {
    about(&["backend", "io_uring", "seccomp"], output)
}

/// False, with a line that says so, where no ring can be had.
fn has_a_ring(name: &str) -> bool {
    let refused = coronet::Runtime::builder().backend(coronet::Backend::Uring).build().err();
    if let Some(error) = &refused {
        skip(name, &format!("needs io_uring: {error}"));
    }
    refused.is_none()
}

/// Past the capture of the test harness, to be counted.
fn skip(name: &str, reason: &str) {
    let required = std::env::var("CORONET_REQUIRE").is_ok_and(|backend| backend == "uring");
    assert!(!required || !reason.starts_with("needs io_uring"), "{reason}");
    let _ = std::io::stderr().write_all(format!("SKIP {name}: {reason}\n").as_bytes());
}

/// Runs the doctor where these calls fail so. The filter is that of one thread, and of what it starts.
fn doctor_where_refused(errno: u32) -> String {
    about_the_ring(&run_where_refused(errno, doctor()))
}

fn run_where_refused(errno: u32, doctor: Command) -> Output {
    let output = run_filtered(errno, doctor);
    assert!(output.status.success(), "Coronet runs here, on epoll: {output:?}");
    output
}

fn run_filtered(errno: u32, mut doctor: Command) -> Output {
    let rules = CALLS.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    let program: BpfProgram = filter.expect("a filter").try_into().expect("a program");
    let asked = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("filters work here");
        doctor.output().expect("it starts")
    });
    asked.join().expect("no panic")
}

/// What differs between kernels is asked of a runtime here, in a process that is as free as the doctor's.
#[test]
fn where_io_uring_works_it_names_the_ring_and_each_capability_as_a_runtime_does() {
    if !has_a_ring("where_io_uring_works_it_names_the_ring_and_each_capability_as_a_runtime_does") {
        return;
    }
    let runtime = coronet::Runtime::builder().backend(coronet::Backend::Uring).build().expect("a ring");
    let mut doctor = doctor();
    // Hidden there as here.
    doctor.envs(std::env::var_os("CORONET_MASK").map(|mask| ("CORONET_MASK", mask)));
    let output = doctor.output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8_lossy(&output.stdout);
    let line_on = |topic: &str| {
        let mut lines = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
        let line = lines.find(|words| words.get(1) == Some(&topic));
        line.unwrap_or_else(|| panic!("nothing on {topic}: {text}"))
    };
    let backend = line_on("backend");
    assert_eq!((backend[0], backend[2..].join(" ")), ("✓", runtime.backend().to_string()));
    for capability in runtime.backend().capabilities.each() {
        let mark = if capability.there { "✓" } else { "!" };
        assert_eq!(line_on(capability.name)[0], mark, "{}: {text}", capability.name);
    }
    // Of a refusal it says nothing.
    assert!(!text.contains("not used") && !text.contains("refus"), "{text}");
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
fn where_the_environment_asks_for_epoll_it_says_that_io_uring_would_work() {
    if !has_a_ring("where_the_environment_asks_for_epoll_it_says_that_io_uring_would_work") {
        return;
    }
    let output = doctor().env("CORONET_BACKEND", "epoll").output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    insta::assert_snapshot!(about(&["backend", "io_uring"], &output));
}

/// The trap: who asks for epoll where io_uring is forbidden is told to ask for io_uring.
#[test]
fn where_epoll_is_asked_for_and_io_uring_forbidden_it_says_both() {
    let mut doctor = doctor();
    doctor.env("CORONET_BACKEND", "epoll");
    insta::assert_snapshot!(about_the_ring(&run_where_refused(EPERM, doctor)));
}

#[test]
fn where_io_uring_is_asked_for_and_forbidden_it_says_that_nothing_runs() {
    let mut doctor = doctor();
    doctor.env("CORONET_BACKEND", "uring");
    let output = run_filtered(EPERM, doctor);
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    insta::assert_snapshot!(about_the_ring(&output));
}

/// The switch itself is the machine's, and others use it: what the doctor reads is put in its place, in a
/// mount namespace, and a filter refuses io_uring as the kernel would.
#[test]
fn where_the_sysctl_forbids_io_uring_it_names_the_switch_and_its_value() {
    const NAME: &str = "where_the_sysctl_forbids_io_uring_it_names_the_switch_and_its_value";
    const SWITCH: &str = "/proc/sys/kernel/io_uring_disabled";
    let value = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(value.path(), "2\n").expect("written");
    let inside = |script: &str| {
        let mut unshare = Command::new("unshare");
        unshare.arg("-m");
        if !rustix::process::geteuid().is_root() {
            unshare.arg("-r");
        }
        unshare.args(["sh", "-ec", script, SWITCH]).arg(value.path());
        unshare.env_remove("CORONET_BACKEND").env_remove("CORONET_MASK");
        unshare
    };
    let mounted = inside("mount --bind \"$1\" \"$0\"").output();
    if !mounted.as_ref().is_ok_and(|output| output.status.success()) {
        return skip(NAME, "needs the kernel's switch (6.6), and a mount namespace");
    }
    let script = format!("mount --bind \"$1\" \"$0\"; exec {} doctor", env!("CARGO_BIN_EXE_coronet"));
    let output = run_where_refused(EPERM, inside(&script));
    insta::assert_snapshot!(about(&["backend", "io_uring", "kernel.io_uring_disabled"], &output));
}

/// The trap: what is hidden is not there for the program, and the kernel is not to blame.
#[test]
fn as_on_an_old_kernel_it_names_what_is_not_there_and_that_a_mask_hides_it() {
    if !has_a_ring("as_on_an_old_kernel_it_names_what_is_not_there_and_that_a_mask_hides_it") {
        return;
    }
    let output = doctor().env("CORONET_MASK", "5.15").output().expect("it starts");
    assert!(output.status.success(), "{output:?}");
    let capabilities = ["msg_ring", "buffer_groups", "accept_multi", "recv_multi", "send_zc"];
    let newer = ["bundles", "incremental", "min_wait", "file_table"];
    let topics =
        [&["backend", "CORONET_MASK", "io_uring", "deferred completions"][..], &capabilities, &newer]
            .concat();
    insta::assert_snapshot!(about(&topics, &output));
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
