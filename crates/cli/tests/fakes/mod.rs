//! A directory of programs that pretend: servers that listen nowhere, a generator with a fixed answer.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

const ANSWER: &str = r#"{"mode":"echo","seconds":0.05,"requests":1000,"throughput":20000.0,"bytes":64000,"megabytes_per_second":1.28,"latency_ns":{"p50":1000,"p90":1500,"p99":2000,"p999":3000,"max":4000},"generator_share":0.5,"verified":true,"errors":{},"server":{"cpu_seconds":0.004,"voluntary_switches":1,"involuntary_switches":0,"rss_kib":4096,"kernel_workers":0},"memory":null}"#;

/// The directory; it goes away with this value.
pub(crate) struct Fakes(TempDir);

impl Fakes {
    /// A generator, Coronet's echo and one rival.
    pub(crate) fn new() -> Self {
        let fakes = Self(tempfile::tempdir().unwrap());
        fs::create_dir(fakes.path().join("pids")).unwrap();
        fs::write(fakes.path().join("answer"), format!("{ANSWER}\n")).unwrap();
        // One answer, and one more for each line that it hears.
        fakes.generator("cat \"$FAKES/answer\"; while read -r _; do cat \"$FAKES/answer\"; done");
        for name in ["echo", "rival-tokio-ct"] {
            fakes.server(name, "echo \"listening on 127.0.0.1:9\"; exec sleep 600");
        }
        fakes
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    /// A server that notes its process id and then does what `script` says.
    pub(crate) fn server(&self, name: &str, script: &str) {
        self.program(name, &format!("echo $$ > \"$FAKES/pids/$$\"\n{script}"));
    }

    /// What the generator does.
    pub(crate) fn generator(&self, script: &str) {
        self.program("load", script);
    }

    fn program(&self, name: &str, script: &str) {
        let path = self.path().join(name);
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    }

    /// The tool on these programs: one cell, one round, no time.
    pub(crate) fn compare(&self, words: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_coronet"));
        command.args(["compare", "--only", "echo-64x50x1", "--duration", "0.01"]);
        command.arg("--programs").arg(self.path()).arg("--out").arg(self.path().join("out"));
        command.args(words).env("FAKES", self.path()).stdin(Stdio::null());
        if !words.contains(&"--rounds") {
            command.args(["--rounds", "1"]);
        }
        command
    }

    /// A PATH that has what the pretenders need, and neither perf nor strace.
    pub(crate) fn tools_only(&self) -> PathBuf {
        let directory = self.path().join("tools");
        fs::create_dir_all(&directory).unwrap();
        for tool in ["cat", "sleep"] {
            let place =
                ["/bin", "/usr/bin"].iter().map(|at| Path::new(at).join(tool)).find(|path| path.exists());
            symlink(place.expect("a system has it"), directory.join(tool)).unwrap();
        }
        directory
    }

    /// What the tool left for programs.
    pub(crate) fn report(&self) -> Value {
        let text = fs::read_to_string(self.path().join("out/report.json")).unwrap();
        serde_json::from_str(&text).unwrap()
    }

    /// What the tool left for people.
    pub(crate) fn page(&self) -> String {
        fs::read_to_string(self.path().join("out/report.html")).unwrap()
    }

    /// The process ids of all that were started.
    pub(crate) fn servers(&self) -> Vec<i32> {
        let entries = fs::read_dir(self.path().join("pids")).unwrap().flatten();
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect()
    }

    pub(crate) fn all_servers_are_gone(&self) -> bool {
        let servers = self.servers();
        !servers.is_empty() && servers.iter().all(|&pid| !is_alive(pid))
    }
}

/// True if the process runs; one that has ended and waits to be collected does not.
pub(crate) fn is_alive(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat.rsplit_once(')').and_then(|(_, rest)| rest.trim_start().chars().next());
    !matches!(state, None | Some('Z' | 'X'))
}

/// Waits until `done`, or fails after a minute.
pub(crate) fn eventually(what: &str, done: impl Fn() -> bool) {
    let started = Instant::now();
    while !done() {
        assert!(started.elapsed() < Duration::from_secs(60), "in vain: {what}");
        thread::yield_now();
    }
}
