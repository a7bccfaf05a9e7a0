//! The processes that the runner starts: servers and generators.
//!
//! Whatever happens, none outlives the runner's own scope: a child is killed, by its own
//! handle, when its guard is dropped, and signals only set a flag that every wait looks at.

use std::fs::File;
use std::io::{Read, Seek};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use coronet_benches::affinity;
use coronet_benches::report::Report;

use crate::Options;
use crate::case::Case;

/// How long a server may take until it accepts.
const START_MAX: Duration = Duration::from_secs(10);
/// How much longer than asked for a generator may run.
const OVERTIME_MAX: Duration = Duration::from_secs(30);
/// How often a wait looks at what it waits for.
const STEP: Duration = Duration::from_millis(10);

/// A server to measure.
#[derive(Clone, Debug)]
pub(crate) struct Contestant {
    pub(crate) name: String,
    words: Vec<String>,
}

impl FromStr for Contestant {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (name, command) = match text.split_once('=') {
            // An equals sign behind a blank belongs to an option of a shorthand.
            Some((name, command)) if !name.contains(' ') => (name, command),
            _ => (text, text),
        };
        let words: Vec<String> = command.split_whitespace().map(str::to_owned).collect();
        if name.is_empty() || words.is_empty() {
            return Err(format!("{text:?} is not NAME=COMMAND"));
        }
        let shorthand = matches!(words[0].as_str(), "raw_uring" | "raw_epoll");
        if !shorthand && !command.contains("{addr}") {
            return Err(format!("the command of {name:?} does not say {{addr}}"));
        }
        Ok(Self { name: name.to_owned(), words })
    }
}

impl Contestant {
    /// The same server under another name.
    pub(crate) fn again(&self) -> Self {
        Self { name: format!("{} (again)", self.name), words: self.words.clone() }
    }
}

/// How to measure: what does not change from one measurement to the next.
pub(crate) struct Bench {
    directory: PathBuf,
    stop: Arc<AtomicBool>,
    server_cpu: usize,
    load_cpu: usize,
    duration: f64,
    warmup: f64,
    mode: String,
    wait: String,
}

impl Bench {
    /// Looks for the generator next to the runner.
    pub(crate) fn new(options: &Options, stop: Arc<AtomicBool>) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("find the runner's own directory")?;
        let directory = own.parent().context("the runner has no directory")?.to_owned();
        let load = directory.join("load");
        ensure!(load.is_file(), "{} is missing: build the whole package", load.display());
        let name = |value: Option<clap::builder::PossibleValue>| {
            value.expect("every value has a name").get_name().to_owned()
        };
        Ok(Self {
            directory,
            stop,
            server_cpu: options.server_cpu,
            load_cpu: options.load_cpu,
            duration: options.duration,
            warmup: options.warmup,
            mode: name(options.mode.to_possible_value()),
            wait: name(options.wait.to_possible_value()),
        })
    }

    /// Starts `server`, loads it, stops it.
    pub(crate) fn measure(&self, server: &Contestant, case: Case) -> anyhow::Result<Report> {
        let address = free_address()?;
        let mut running = self.start(server, address)?;
        self.wait_for_port(&mut running, address)?;
        let mut output = scratch_file()?;
        let mut load = Command::new(self.directory.join("load"));
        load.arg("--json")
            .args(["--connect", &address.to_string()])
            .args(["--server-pid", &running.child.id().to_string()])
            .args(["--cpu", &self.load_cpu.to_string()])
            .args(["--mode", &self.mode])
            .args(["--wait", &self.wait])
            .args(["--size", &case.size.to_string()])
            .args(["--connections", &case.connections.to_string()])
            .args(["--pipeline", &case.pipeline.to_string()])
            .args(["--duration", &self.duration.to_string()])
            .args(["--warmup", &self.warmup.to_string()])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?);
        let mut load = Guard { child: load.spawn().context("start the generator")? };
        let patience = Duration::from_secs_f64(self.duration + self.warmup) + OVERTIME_MAX;
        let status = self.wait_for_end(&mut load, patience)?;
        if !status.success() {
            match running.child.try_wait()? {
                Some(status) => bail!("the generator failed; the server had ended with {status}"),
                None => bail!("the generator failed"),
            }
        }
        let mut text = String::new();
        output.rewind()?;
        output.read_to_string(&mut text)?;
        serde_json::from_str(&text).context("read the generator's report")
    }

    fn start(&self, server: &Contestant, address: SocketAddr) -> anyhow::Result<Guard> {
        let text = address.to_string();
        let mut words = server.words.iter().map(|word| word.replace("{addr}", &text));
        let program = words.next().expect("a command has a word");
        let mut command = if matches!(program.as_str(), "raw_uring" | "raw_epoll") {
            let mut command = Command::new(self.directory.join(&program));
            command.args(["--listen", &text]);
            command
        } else {
            Command::new(&program)
        };
        command.args(words).stdin(Stdio::null()).stdout(Stdio::null());
        let child = affinity::pinned(self.server_cpu, || command.spawn())
            .with_context(|| format!("run on CPU {}", self.server_cpu))?
            .with_context(|| format!("start {program:?}"))?;
        Ok(Guard { child })
    }

    fn wait_for_port(&self, server: &mut Guard, address: SocketAddr) -> anyhow::Result<()> {
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            self.check_stop()?;
            if let Some(status) = server.child.try_wait()? {
                bail!("the server ended with {status} before it accepted");
            }
            ensure!(started.elapsed() < START_MAX, "the server does not accept on {address}");
            thread::sleep(STEP);
        }
        Ok(())
    }

    fn wait_for_end(&self, child: &mut Guard, patience: Duration) -> anyhow::Result<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Some(status) = child.child.try_wait()? {
                return Ok(status);
            }
            self.check_stop()?;
            ensure!(started.elapsed() < patience, "the generator does not come to an end");
            thread::sleep(STEP);
        }
    }

    fn check_stop(&self) -> anyhow::Result<()> {
        ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
}

/// A child process that ends with its owner.
struct Guard {
    child: Child,
}

impl Drop for Guard {
    fn drop(&mut self) {
        // Both fail only if the child has ended and was waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address on which nothing listens at this moment.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind("127.0.0.1:0").context("find a free port")?;
    Ok(listener.local_addr()?)
}

/// A file without a name: a pipe could fill up while nobody reads.
fn scratch_file() -> anyhow::Result<File> {
    let name = c"report";
    let memory = rustix::fs::memfd_create(name, rustix::fs::MemfdFlags::CLOEXEC)?;
    Ok(memory.into())
}
