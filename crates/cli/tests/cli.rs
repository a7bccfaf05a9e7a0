//! The tool from outside, with servers and a generator that only pretend.
//!
//! The pretenders are shell scripts, so that no measurement runs and every run is quick. A server writes its
//! process id to a directory, so that a test can see that it has ended.

mod fakes;

use std::fs;
use std::io::Read;
use std::process::{Command, Output, Stdio};
use std::thread;

use fakes::{Fakes, eventually, is_alive};
use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};
use serde_json::Value;

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn coronet(words: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_coronet")).args(words).output().expect("run the tool")
}

fn row<'a>(report: &'a Value, name: &str) -> &'a Value {
    let entries = report["cells"][0]["entries"].as_array().expect("entries");
    entries.iter().find(|entry| entry["row"] == name).unwrap_or_else(|| panic!("no row {name}"))
}

#[test]
fn bad_options_are_told_in_a_line_with_exit_code_2() {
    for (words, part) in [
        (&["compare", "--only", "ecko"][..], "\"ecko\" is no workload"),
        (&["compare", "--rivals", "tokyo"], "nobody is called \"tokyo\""),
        (&["compare", "--duration", "0"], "above 0"),
        (&["compare", "--rounds", "0"], "rounds"),
        (&["compare", "--baseline", "/no/such/file"], "/no/such/file"),
        (&["compare", "--fail-under", "5%"], "--baseline"),
        (&["compare", "--quick", "--full"], "--full"),
        (&["doctor", "--yaml"], "--yaml"),
    ] {
        let output = coronet(words);
        assert_eq!(output.status.code(), Some(2), "{words:?}: {output:?}");
        assert!(text(&output.stderr).contains(part), "{words:?}: {}", text(&output.stderr));
    }
}

#[test]
fn outside_of_a_checkout_it_says_where_it_has_to_run() {
    let elsewhere = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_coronet"));
    let output = command.arg("compare").current_dir(elsewhere.path()).output().unwrap();
    assert_eq!(output.status.code(), Some(3));
    assert!(text(&output.stderr).contains("inside a checkout of Coronet"), "{}", text(&output.stderr));
}

#[test]
fn list_says_what_would_run_and_runs_nothing() {
    let output = coronet(&["compare", "--list", "--only", "churn,echo-16Kx8x1", "--rivals", "smol"]);
    let out = text(&output.stdout);
    assert!(output.status.success());
    for part in ["churn-64x50x1", "echo-16Kx8x1", "2 cells, 3 rows", "of measuring"] {
        assert!(out.contains(part), "{part}: {out}");
    }
    assert!(out.lines().any(|line| line.contains("monoio") && line.contains("not in this run")), "{out}");
    assert!(!out.contains("stream-64K"), "{out}");
}

#[test]
fn the_doctor_answers_for_people_and_for_programs() {
    let output = coronet(&["doctor"]);
    let out = text(&output.stdout);
    let works = output.status.code() == Some(0);
    for topic in ["backend", "locked memory", "open files", "CPUs", "seccomp", "kernel.io_uring_disabled"] {
        assert!(
            out.lines().any(|line| line.starts_with(['✓', '!', '✗']) && line.contains(topic)),
            "{topic}: {out}"
        );
    }
    let json: Value = serde_json::from_slice(&coronet(&["doctor", "--json"]).stdout).unwrap();
    assert_eq!(json["runs"], works);
    assert!(json["findings"].as_array().is_some_and(|list| list.len() > 5));
}

#[test]
fn a_run_leaves_a_report_in_which_a_missing_and_a_failing_rival_are_one_row_each() {
    let fakes = Fakes::new();
    fakes.server("rival-smol", "echo 'error: cannot bind: Address already in use' >&2; exit 1");
    // No rival-monoio at all.
    let output = fakes.compare(&["--rivals", "tokio-ct,smol,monoio", "--rounds", "2"]).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = fakes.report();
    assert_eq!(report["partial"], false);
    assert!(row(&report, "coronet")["figures"]["per_second"]["median"].is_f64());
    let failed = |name: &str| row(&report, name)["failed"].as_str().unwrap_or_default().to_owned();
    assert!(failed("smol").contains("cannot bind"), "{}", failed("smol"));
    assert!(failed("monoio").contains("there is no"), "{}", failed("monoio"));
    assert!(fakes.page().contains("cannot bind"));
    assert!(fakes.all_servers_are_gone());
}

#[test]
fn a_payload_that_does_not_verify_refuses_the_row() {
    let fakes = Fakes::new();
    fakes.generator("echo '{\"mode\":\"echo\",\"verified\":false,\"errors\":{\"payload\":2}}'; exit 1");
    let output = fakes.compare(&["--rivals", "tokio-ct"]).output().unwrap();
    assert_eq!(output.status.code(), Some(3), "{output:?}");
    let report = fakes.report();
    assert_eq!(row(&report, "tokio-ct")["failed"], "payload did not verify (payload: 2)");
    assert!(row(&report, "tokio-ct")["figures"].is_null());
}

#[test]
fn without_perf_and_strace_system_calls_are_not_measured_and_the_report_says_so() {
    let fakes = Fakes::new();
    let output = fakes.compare(&["--rivals", "tokio-ct"]).env("PATH", fakes.tools_only()).output().unwrap();
    assert!(output.status.success(), "{}", text(&output.stderr));
    let report = fakes.report();
    let by = report["method"]["syscalls_by"].as_str().unwrap();
    assert!(by.starts_with("not measured"), "{by}");
    assert!(row(&report, "coronet")["figures"]["syscalls"].is_null());
}

#[test]
fn on_one_cpu_nothing_is_pinned_and_the_report_says_so_loudly() {
    let fakes = Fakes::new();
    // A thread of its own: its affinity is inherited by what it starts, and nobody else's changes.
    let output = thread::scope(|scope| {
        let run = || {
            let allowed = sched_getaffinity(None).unwrap();
            let mut one = CpuSet::new();
            one.set((0..CpuSet::MAX_CPU).find(|&cpu| allowed.is_set(cpu)).unwrap());
            sched_setaffinity(None, &one).unwrap();
            fakes.compare(&["--rivals", "tokio-ct"]).output().unwrap()
        };
        scope.spawn(run).join().unwrap()
    });
    assert!(output.status.success(), "{}", text(&output.stderr));
    assert!(text(&output.stdout).contains("ONE CPU"), "{}", text(&output.stdout));
    let report = fakes.report();
    assert!(report["method"]["server_cpu"].is_null());
    assert!(!row(&report, "coronet")["server_command"].as_str().unwrap().contains("taskset"));
}

#[test]
fn a_fall_below_the_baseline_ends_with_exit_code_1() {
    let fakes = Fakes::new();
    assert!(fakes.compare(&["--rivals", "tokio-ct", "--rounds", "2"]).output().unwrap().status.success());
    let mut old = fakes.report();
    let entries = old["cells"][0]["entries"].as_array_mut().unwrap();
    let ours = entries.iter_mut().find(|entry| entry["row"] == "coronet").unwrap();
    for one in ours["to_reference"].as_array_mut().unwrap() {
        // As if it had been twice as good in both metrics.
        let factor = if one["metric"] == "throughput" { 2.0 } else { 0.5 };
        one["ratio"] = (one["ratio"].as_f64().unwrap() * factor).into();
    }
    let path = fakes.path().join("old.json");
    fs::write(&path, old.to_string()).unwrap();
    let words = ["--rivals", "tokio-ct", "--rounds", "2", "--baseline", path.to_str().unwrap()];
    let output = fakes.compare(&words).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    assert!(text(&output.stdout).contains("WORSE: echo-64x50x1: throughput fell by"), "{output:?}");
    fs::write(&path, "{}").unwrap();
    assert_eq!(fakes.compare(&words).output().unwrap().status.code(), Some(2));
}

#[test]
fn ctrl_c_in_the_middle_leaves_a_partial_report_and_no_child() {
    let fakes = Fakes::new();
    // All are warm; the first that is asked answers, and the second never comes to an end.
    fakes.generator(
        "cat \"$FAKES/answer\"\nwhile read -r _; do\n\
         if [ -e \"$FAKES/once\" ]; then : > \"$FAKES/twice\"; exec sleep 600; fi\n\
         : > \"$FAKES/once\"; cat \"$FAKES/answer\"\ndone",
    );
    let mut child = fakes.compare(&["--rivals", "tokio-ct"]).stderr(Stdio::piped()).spawn().unwrap();
    eventually("the second row has its turn", || fakes.path().join("twice").exists());
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let status = child.wait().unwrap();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!(status.code(), Some(130), "{said}");
    assert!(said.contains("interrupted"), "{said}");
    let report = fakes.report();
    assert_eq!(report["partial"], true);
    let rows = ["coronet", "tokio-ct", "coronet (again)"];
    let measured = rows.iter().filter(|name| row(&report, name)["figures"]["per_second"]["median"].is_f64());
    assert_eq!(measured.count(), 1);
    assert!(fakes.all_servers_are_gone());
}

/// The trap: a process that is killed with SIGKILL cleans nothing up, so the kernel has to.
#[test]
fn no_server_survives_a_tool_that_is_killed() {
    let fakes = Fakes::new();
    fakes.generator("echo $$ > \"$FAKES/pids/$$\"; exec sleep 600");
    let mut child = fakes.compare(&["--rivals", "tokio-ct"]).spawn().unwrap();
    eventually("server and generator run", || fakes.servers().len() == 2);
    child.kill().unwrap();
    child.wait().unwrap();
    eventually("both have ended", || fakes.servers().iter().all(|&pid| !is_alive(pid)));
}
