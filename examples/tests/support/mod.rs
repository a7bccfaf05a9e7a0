//! Running an example as a stranger would: its binary, its arguments, its output.

#![allow(dead_code, reason = "each test file uses some of it")]

pub(crate) mod proxy;

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use rustix::thread::CapabilitySet;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter};

/// A test that takes this long hangs.
pub(crate) const HANG: Duration = Duration::from_secs(30);

/// The time in which this process got to run. For what nothing may take longer than: a machine that stops both sides,
/// or gives them no CPU, makes neither slow.
pub(crate) struct Running(Arc<AtomicU32>);

impl Running {
    const STEP: Duration = Duration::from_millis(10);

    pub(crate) fn start() -> Self {
        let steps = Arc::new(AtomicU32::new(0));
        let counted = Arc::downgrade(&steps);
        // However late it wakes, that is one step.
        std::thread::spawn(move || {
            while let Some(steps) = counted.upgrade() {
                steps.fetch_add(1, Ordering::Relaxed);
                drop(steps);
                std::thread::sleep(Self::STEP);
            }
        });
        Self(steps)
    }

    pub(crate) fn elapsed(&self) -> Duration {
        Self::STEP * self.0.load(Ordering::Relaxed)
    }
}

/// Calls until no signal interrupts: one that has a time limit ends early when the process is stopped and goes on.
pub(crate) fn uninterrupted<T>(mut call: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    loop {
        match call() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            done => return done,
        }
    }
}

/// The example `name`, built by `cargo test` before this test.
pub(crate) fn example(name: &str) -> Command {
    let mut path: PathBuf = std::env::current_exe().expect("a test binary");
    path.pop(); // target/debug/deps
    path.pop();
    path.extend(["examples", name]);
    assert!(path.exists(), "{} is not there: run `cargo test -p coronet-examples`", path.display());
    let mut command = Command::new(path);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    // What the tests expect is what a user without it sees.
    command.env_remove("RUST_BACKTRACE");
    command
}

/// False, with a line that says so, where no ring can be had; a failure under `CORONET_REQUIRE=uring`.
pub(crate) fn can_run(name: &str) -> bool {
    match coronet::Runtime::new() {
        Ok(_) => true,
        Err(error) => {
            let required = std::env::var("CORONET_REQUIRE").is_ok_and(|backend| backend == "uring");
            assert!(!required, "io_uring is required: {error}");
            skip(name, &format!("needs io_uring: {error}"));
            false
        }
    }
}

/// How the line of `Backend::Auto` begins here.
pub(crate) fn backend() -> &'static str {
    coronet::Runtime::new().expect("`can_run` said so").backend().name
}

/// Starts `command` where these system calls fail with `errno`. The filter is that of one thread, and
/// of what it starts.
pub(crate) fn spawn_filtered(command: Command, calls: &[i64], errno: u32) -> Child {
    let rules = calls.iter().map(|call| (*call, Vec::new())).collect();
    let arch = std::env::consts::ARCH.try_into().expect("an architecture with filters");
    let filter = SeccompFilter::new(rules, SeccompAction::Allow, SeccompAction::Errno(errno), arch);
    spawn_under(command, filter.expect("a filter").try_into().expect("a program"))
}

/// Starts `command` under a filter, which is that of one thread, and of what it starts.
pub(crate) fn spawn_under(mut command: Command, program: BpfProgram) -> Child {
    let started = std::thread::spawn(move || {
        seccompiler::apply_filter(&program).expect("filters work here");
        command.spawn()
    });
    started.join().expect("no panic").expect("it starts")
}

/// Starts `command` without a capability that root has, and others have not.
pub(crate) fn spawn_without(capability: CapabilitySet, mut command: Command) -> Child {
    let started = std::thread::spawn(move || {
        if rustix::process::geteuid().is_root() {
            rustix::thread::remove_capability_from_bounding_set(capability).expect("root may");
        }
        command.spawn()
    });
    started.join().expect("no panic").expect("it starts")
}

/// Past the capture of the test harness, to be counted.
pub(crate) fn skip(name: &str, reason: &str) {
    // In one piece: other threads speak, too.
    let _ = std::io::stderr().write_all(format!("SKIP {name}: {reason}\n").as_bytes());
}

/// A server that listens: the echo example, or another one that prints a line of the same form.
pub(crate) struct Echo {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) line: String,
    pub(crate) address: SocketAddr,
}

impl From<Child> for Echo {
    fn from(mut child: Child) -> Self {
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        if line.is_empty() {
            let mut said = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut said);
            panic!("it does not start: {said}");
        }
        let address = line.split_once(" on ").and_then(|(_, rest)| rest.split(", ").next()?.parse().ok());
        let address = address.unwrap_or_else(|| panic!("no address in {line:?}"));
        Self { child, stdout, line, address }
    }
}

/// How it ended, and what it said after its first line.
pub(crate) struct End {
    pub(crate) status: ExitStatus,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Echo {
    pub(crate) fn start(arguments: &[&str]) -> Self {
        let mut command = example("echo");
        command.args(["--listen", "127.0.0.1:0"]).args(arguments);
        Self::of(command)
    }

    pub(crate) fn of(mut command: Command) -> Self {
        Self::from(command.spawn().expect("it starts"))
    }

    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).expect("it listens");
        stream.set_read_timeout(Some(HANG)).expect("a limit");
        stream.set_write_timeout(Some(HANG)).expect("a limit");
        stream
    }

    /// User and system time so far, in ticks of `sysconf(_SC_CLK_TCK)`, which is a hundred per second.
    pub(crate) fn cpu_ticks(&self) -> u64 {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).expect("it runs");
        let fields: Vec<_> = stat.rsplit(") ").next().expect("fields").split(' ').collect();
        fields[11].parse::<u64>().expect("a number") + fields[12].parse::<u64>().expect("a number")
    }

    /// How often its threads gave their CPU up by themselves: once per sleep.
    pub(crate) fn sleeps(&self) -> u64 {
        let threads = std::fs::read_dir(format!("/proc/{}/task", self.child.id())).expect("it runs");
        let of_thread = |entry: std::fs::DirEntry| -> u64 {
            let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
            line.and_then(|count| count.trim().parse().ok()).unwrap_or(0)
        };
        threads.map(|entry| of_thread(entry.expect("procfs"))).sum()
    }

    pub(crate) fn pid(&self) -> Pid {
        Pid::from_child(&self.child)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.pid();
        kill_process(pid, signal).expect("it runs");
    }

    /// Waits for the end, and checks that there is one.
    pub(crate) fn end(mut self) -> End {
        let mut stdout = String::new();
        self.stdout.read_to_string(&mut stdout).expect("text");
        let mut stderr = String::new();
        self.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        let running = Running::start();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(running.elapsed() < HANG, "it closed its output and does not end");
            std::thread::yield_now();
        };
        End { status, stdout, stderr }
    }
}

impl Drop for Echo {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
