//! The files of `deploy/`: they parse, they name what exists, and the servers work under the filter.

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::process::Signal;
use seccompiler::{BpfProgram, compile_from_json};
use serde_json::{Value, json};
use support::proxy::{Echoing, Proxy, Refusing, ask, connect};
use support::{Echo, backend, can_run, example, spawn_under};
use yaml_rust2::{Yaml, YamlLoader};

fn file(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(name)
}

fn text(name: &str) -> String {
    std::fs::read_to_string(file(name)).unwrap_or_else(|error| panic!("deploy/{name}: {error}"))
}

/// The names that the profile allows.
fn allowed() -> BTreeSet<String> {
    let profile: Value = serde_json::from_str(&text("seccomp.json")).expect("JSON");
    assert_eq!(profile["defaultAction"], "SCMP_ACT_ERRNO");
    assert_eq!(profile["defaultErrnoRet"], 1, "EPERM, as Docker's own");
    let mut names = BTreeSet::new();
    for group in profile["syscalls"].as_array().expect("groups") {
        assert_eq!(group["action"], "SCMP_ACT_ALLOW");
        for name in group["names"].as_array().expect("names") {
            let name = name.as_str().expect("a name").to_owned();
            assert!(names.insert(name.clone()), "{name} is there twice");
        }
    }
    names
}

/// The filter that a container's runtime makes of the profile, without those of `names` that are left out.
fn filter(without: &[&str]) -> BpfProgram {
    let names = allowed().into_iter().filter(|name| !without.contains(&name.as_str()));
    let rules: Vec<_> = names.map(|name| json!({ "syscall": name })).collect();
    let filters =
        json!({ "all": { "mismatch_action": { "errno": 1 }, "match_action": "allow", "filter": rules } });
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    // A name that does not exist is an error here.
    let mut compiled = compile_from_json(filters.to_string().as_bytes(), arch).expect("known names");
    compiled.remove("all").expect("one filter")
}

/// The profile is written for two architectures; the table that checks names is that of one.
fn can_filter(name: &str) -> bool {
    let known = std::env::consts::ARCH == "x86_64";
    if !known {
        support::skip(name, "names of other architectures are not known here");
    }
    known && can_run(name)
}

fn backends() -> Vec<(&'static str, &'static str)> {
    let ring = (backend() == "io_uring").then_some(("uring", ", io_uring ("));
    ring.into_iter().chain([("epoll", ", epoll (as asked for")]).collect()
}

#[test]
fn under_the_seccomp_profile_the_servers_serve_on_both_backends() {
    if !can_filter("under_the_seccomp_profile_the_servers_serve_on_both_backends") {
        return;
    }
    let question: Vec<u8> = (0..2_000_000u32).map(|byte| (byte * 31) as u8).collect();
    for (backend, says) in backends() {
        for name in ["echo", "listen_fds"] {
            let mut command = example(name);
            command.args(["--listen", "127.0.0.1:0", "--cores", "2", "--backend", backend]);
            let server = Echo::from(spawn_under(command, filter(&[])));
            assert!(server.line.contains(says), "{}", server.line);
            assert_answers(server.address, &question);
            server.signal(Signal::TERM);
            let end = server.end();
            assert_eq!((end.status.code(), &*end.stderr), (Some(0), ""));
        }

        let (refusing, upstream) = Refusing::new();
        let upstream = (Echoing::start(refusing.listen(), None), upstream.port());
        let mut command = example("proxy");
        command.args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--cores", "2"]);
        // By name, so that names are looked up under the filter, too.
        command.args(["--to", &format!("localhost:{}", upstream.1), "--backend", backend]);
        let mut proxy = Proxy::from(spawn_under(command, filter(&[])));
        assert!(proxy.line.contains(says), "{}", proxy.line);
        assert_answers(proxy.address, &question);
        assert!(ask(proxy.metrics, "GET /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 200 OK"));
        // The successor inherits the filter, and its program is executed under it.
        let line = proxy.hand_over();
        assert!(line.contains(says), "{line}");
        assert_answers(proxy.address, &question);
        assert!(proxy.status().success(), "the predecessor has drained");
        proxy.ends_quietly();
    }
}

/// Sends all, says that it is all, and gets it back. In pieces of which some are large: then a proxy splices.
#[track_caller]
fn assert_answers(address: SocketAddr, question: &[u8]) {
    let mut stream = connect(address);
    let mut answer = Vec::new();
    std::thread::scope(|scope| {
        let mut writer = stream.try_clone().unwrap();
        scope.spawn(move || {
            writer.write_all(question).unwrap();
            writer.shutdown(Shutdown::Write).unwrap();
        });
        stream.read_to_end(&mut answer).unwrap();
    });
    assert!(answer == question, "{} of {} bytes", answer.len(), question.len());
}

/// The trap: a test that passes because the filter is not in force.
#[test]
fn without_the_three_calls_of_io_uring_the_same_profile_leaves_epoll() {
    if !can_filter("without_the_three_calls_of_io_uring_the_same_profile_leaves_epoll") {
        return;
    }
    let calls = ["io_uring_setup", "io_uring_enter", "io_uring_register"];
    assert!(calls.iter().all(|call| allowed().contains(*call)));
    let mut command = example("echo");
    command.args(["--listen", "127.0.0.1:0"]).env_remove("CORONET_BACKEND");
    let echo = Echo::from(spawn_under(command, filter(&calls)));
    assert!(echo.line.contains(", epoll (io_uring_setup refused with EPERM; "), "{}", echo.line);
    // The advice leads to this file.
    assert!(echo.line.contains("deploy/seccomp.json"), "{}", echo.line);
    assert_answers(echo.address, b"hi");
}

#[test]
fn the_profile_allows_nothing_that_changes_the_machine_or_other_processes() {
    let allowed = allowed();
    for name in [
        "bpf",
        "chroot",
        "clock_settime",
        "delete_module",
        "finit_module",
        "init_module",
        "kexec_load",
        "keyctl",
        "mount",
        "perf_event_open",
        "pivot_root",
        "process_vm_readv",
        "process_vm_writev",
        "ptrace",
        "reboot",
        "setns",
        "swapon",
        "sysinfo",
        "syslog",
        "umount2",
        "unshare",
        "userfaultfd",
    ] {
        assert!(!allowed.contains(name), "{name}");
    }
}

/// The keys of a unit: section, key, value.
fn unit(name: &str) -> BTreeMap<(String, String), String> {
    let (mut section, mut keys) = (String::new(), BTreeMap::new());
    for line in text(name).lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        if let Some(header) = line.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
            header.clone_into(&mut section);
            continue;
        }
        let (key, value) = line.split_once('=').unwrap_or_else(|| panic!("{name}: {line}"));
        let entry = keys.entry((section.clone(), key.to_owned())).or_insert_with(String::new);
        entry.push_str(&format!("{value} "));
    }
    keys
}

#[test]
fn the_units_fit_together_and_give_what_a_server_needs() {
    let (service, socket) = (unit("coronet-echo.service"), unit("coronet-echo.socket"));
    let key = |unit: &BTreeMap<(String, String), String>, section: &str, key: &str| {
        let value = unit.get(&(section.to_owned(), key.to_owned()));
        value.unwrap_or_else(|| panic!("{section}: {key}")).trim().to_owned()
    };
    assert_eq!(key(&service, "Service", "Type"), "notify");
    assert_eq!(key(&service, "Service", "NotifyAccess"), "main");
    assert_eq!(key(&service, "Unit", "Requires"), "coronet-echo.socket");
    assert!(!key(&socket, "Socket", "ListenStream").is_empty());
    for limit in ["LimitNOFILE", "LimitMEMLOCK"] {
        assert!(!key(&service, "Service", limit).is_empty());
    }
    // The manager waits longer than the server drains.
    let command = key(&service, "Service", "ExecStart");
    let drain: u64 =
        command.split("--drain ").nth(1).and_then(|rest| rest.split(' ').next()?.parse().ok()).unwrap();
    let stop: u64 = key(&service, "Service", "TimeoutStopSec").parse().unwrap();
    assert!(stop > drain, "{stop} s to stop, and {drain} s to drain");
    // systemd's groups leave io_uring out of @system-service.
    let calls = key(&service, "Service", "SystemCallFilter");
    for call in ["@system-service", "io_uring_setup", "io_uring_enter", "io_uring_register"] {
        assert!(calls.split_whitespace().any(|word| word == call), "{call} in {calls}");
    }
}

#[test]
fn systemd_finds_nothing_wrong_with_the_units() {
    const NAME: &str = "systemd_finds_nothing_wrong_with_the_units";
    let there = std::env::temp_dir().join(format!("coronet-units-{}", std::process::id()));
    std::fs::create_dir_all(&there).unwrap();
    for name in ["coronet-echo.service", "coronet-echo.socket"] {
        // The program is not installed here.
        let unit = text(name).replace("/usr/local/bin/coronet-echo", "/bin/true");
        std::fs::write(there.join(name), unit).unwrap();
    }
    let verified = Command::new("systemd-analyze")
        .args(["verify", "--man=no", "--recursive-errors=no"])
        .args([there.join("coronet-echo.service"), there.join("coronet-echo.socket")])
        .output();
    std::fs::remove_dir_all(&there).unwrap();
    match verified {
        Ok(output) => {
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success() && !said.contains("coronet-echo"), "{said}");
        }
        Err(error) => support::skip(NAME, &format!("no systemd-analyze: {error}")),
    }
}

#[test]
fn the_manifest_is_yaml_that_names_the_profile_limits_and_probes() {
    let documents = YamlLoader::load_from_str(&text("kubernetes.yaml")).expect("YAML");
    let kind = |kind: &str| documents.iter().find(|document| document["kind"].as_str() == Some(kind));
    let (deployment, service) = (kind("Deployment").expect("one"), kind("Service").expect("one"));
    let pod = &deployment["spec"]["template"]["spec"];
    let container = &pod["containers"][0];
    let profile = &pod["securityContext"]["seccompProfile"];
    assert_eq!(profile["type"].as_str(), Some("Localhost"));
    assert_eq!(profile["localhostProfile"].as_str(), Some("coronet/seccomp.json"));
    assert_eq!(pod["securityContext"]["runAsNonRoot"].as_bool(), Some(true));
    assert_eq!(container["securityContext"]["allowPrivilegeEscalation"].as_bool(), Some(false));
    for limit in ["cpu", "memory"] {
        assert!(!container["resources"]["limits"][limit].is_badvalue(), "{limit}");
    }
    for probe in ["readinessProbe", "livenessProbe"] {
        assert!(!container[probe]["tcpSocket"]["port"].is_badvalue(), "{probe}");
    }
    let labels = &deployment["spec"]["template"]["metadata"]["labels"];
    assert_eq!(&service["spec"]["selector"], labels);
    let port = &container["ports"][0]["name"];
    assert_eq!(&service["spec"]["ports"][0]["targetPort"], port);
    assert!(matches!(port, Yaml::String(_)));
    // The pod is given longer than the server drains.
    let arguments: Vec<_> =
        container["args"].as_vec().expect("a list").iter().filter_map(Yaml::as_str).collect();
    let drain = arguments.iter().position(|argument| *argument == "--drain").map(|at| arguments[at + 1]);
    let drain: i64 = drain.expect("--drain").parse().expect("seconds");
    assert!(pod["terminationGracePeriodSeconds"].as_i64().expect("seconds") > drain);
}

#[test]
fn the_image_builds_examples_that_exist_and_does_not_run_as_root() {
    let lines: Vec<String> = text("Dockerfile").lines().map(str::to_owned).collect();
    let built: BTreeSet<&str> = lines
        .iter()
        .flat_map(|line| line.split("--example ").skip(1))
        .map(|rest| rest.split_whitespace().next().expect("a name"))
        .collect();
    assert_eq!(built, BTreeSet::from(["echo", "proxy"]));
    for name in built {
        let _ = example(name);
    }
    let users: Vec<_> = lines.iter().filter_map(|line| line.strip_prefix("USER ")).collect();
    assert!(
        !users.is_empty() && users.iter().all(|user| user.trim() != "root" && user.trim() != "0"),
        "{users:?}"
    );
    let toolchain = std::fs::read_to_string(file("../rust-toolchain.toml")).unwrap();
    let channel =
        toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    for says in [format!("FROM rust:{channel}-"), format!("ENV RUSTUP_TOOLCHAIN={channel}")] {
        assert!(lines.iter().any(|line| line.starts_with(&says)), "{says}");
    }
}

#[test]
fn the_profile_is_of_no_use_to_who_asks_for_more() {
    const NAME: &str = "the_profile_is_of_no_use_to_who_asks_for_more";
    if !can_filter(NAME) {
        return;
    }
    let mut command = Command::new("unshare");
    command.args(["--user", "true"]);
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    let output = spawn_under(command, filter(&[])).wait_with_output().unwrap();
    assert!(!output.status.success(), "{output:?}");
    let mut said = String::new();
    output.stderr.as_slice().read_to_string(&mut said).unwrap();
    assert!(said.contains("Operation not permitted"), "{said}");
}
