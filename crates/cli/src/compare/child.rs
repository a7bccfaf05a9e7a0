//! Child processes: started through `coronet __start`, watched, ended.
//!
//! A child has a process group of its own, so that Ctrl-C in a terminal reaches only the tool, which then
//! ends its children in order. Dropping a [`Child`] ends it. What it prints goes to memory: nobody has to
//! read while it runs, and what it said last can be quoted.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;
use std::os::unix::process::CommandExt;
use std::process::{self, ChildStdin, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, Signal, kill_process};

/// How often a wait looks at what it waits for.
const STEP: Duration = Duration::from_millis(5);
/// How long a child may take to end after SIGTERM, before SIGKILL.
const END_MAX: Duration = Duration::from_secs(1);

/// Set by Ctrl-C and SIGTERM; every wait looks at it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Stop(Arc<AtomicBool>);

/// Why a wait ended early.
#[derive(Debug)]
pub(crate) enum Early {
    /// The user asked for an end.
    Interrupted,
    /// It took too long.
    TimedOut,
}

impl Stop {
    /// Watches the signals that ask for an end. The second one ends the tool at once.
    pub(crate) fn on_signals() -> io::Result<Self> {
        let stop = Self::default();
        for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM, signal_hook::consts::SIGHUP]
        {
            signal_hook::flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&stop.0))?;
            signal_hook::flag::register(signal, Arc::clone(&stop.0))?;
        }
        Ok(stop)
    }

    /// True once the user asked for an end.
    pub(crate) fn is_asked(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Looks at `done` until it has something, for `patience` at most.
    pub(crate) fn wait_for<T>(
        &self,
        patience: Duration,
        mut done: impl FnMut() -> Option<T>,
    ) -> Result<T, Early> {
        let started = Instant::now();
        loop {
            if let Some(found) = done() {
                return Ok(found);
            }
            if self.is_asked() {
                return Err(Early::Interrupted);
            }
            if started.elapsed() > patience {
                return Err(Early::TimedOut);
            }
            thread::sleep(STEP);
        }
    }
}

/// A running child. Dropping it ends it.
pub(crate) struct Child {
    process: process::Child,
    input: Option<ChildStdin>,
    out: File,
    err: File,
}

impl Child {
    /// Starts `program` on `cpu`.
    pub(crate) fn start<S: AsRef<OsStr>>(
        program: &OsStr,
        arguments: &[S],
        cpu: Option<usize>,
    ) -> io::Result<Self> {
        Self::start_with(program, arguments, cpu, Stdio::null())
    }

    /// Starts `program` on `cpu`; it hears what one [says](Self::say) to it.
    pub(crate) fn start_that_listens<S: AsRef<OsStr>>(
        program: &OsStr,
        arguments: &[S],
        cpu: Option<usize>,
    ) -> io::Result<Self> {
        Self::start_with(program, arguments, cpu, Stdio::piped())
    }

    fn start_with<S: AsRef<OsStr>>(
        program: &OsStr,
        arguments: &[S],
        cpu: Option<usize>,
        input: Stdio,
    ) -> io::Result<Self> {
        let (out, err) = (scratch(c"out")?, scratch(c"err")?);
        let mut command = Command::new("/proc/self/exe");
        command.args(["__start", "--parent", &process::id().to_string()]);
        if let Some(cpu) = cpu {
            command.args(["--cpu", &cpu.to_string()]);
        }
        command.arg("--").arg(program).args(arguments);
        command.stdin(input).stdout(out.try_clone()?).stderr(err.try_clone()?).process_group(0);
        let mut process = command.spawn()?;
        let input = process.stdin.take();
        Ok(Self { process, input, out, err })
    }

    /// Writes `text` to its standard input.
    pub(crate) fn say(&mut self, text: &str) -> io::Result<()> {
        match &mut self.input {
            Some(input) => input.write_all(text.as_bytes()),
            None => Err(io::ErrorKind::BrokenPipe.into()),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.process.id()
    }

    /// How it ended, if it has.
    pub(crate) fn ended(&mut self) -> Option<ExitStatus> {
        self.process.try_wait().ok().flatten()
    }

    /// All that it printed so far.
    pub(crate) fn printed(&self) -> String {
        read(&self.out)
    }

    /// All that it complained about so far.
    pub(crate) fn complained(&self) -> String {
        read(&self.err)
    }

    /// The first line of its complaints that says something, or else of what it printed.
    pub(crate) fn first_line(&self) -> String {
        let line =
            |text: String| text.lines().map(str::trim).find(|line| !line.is_empty()).map(str::to_owned);
        line(self.complained())
            .or_else(|| line(self.printed()))
            .unwrap_or_else(|| "it said nothing".to_owned())
    }

    /// Sends a signal, if it still runs.
    pub(crate) fn signal(&mut self, signal: Signal) {
        if self.ended().is_none()
            && let Some(pid) = i32::try_from(self.process.id()).ok().and_then(Pid::from_raw)
        {
            // It cannot be another process: nobody has waited for this one yet.
            let _ = kill_process(pid, signal);
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.signal(Signal::TERM);
        let patient = Stop::default();
        if patient.wait_for(END_MAX, || self.ended()).is_err() {
            // Fails only if it has ended, which is what is wanted.
            let _ = self.process.kill();
            let _ = self.process.wait();
        }
    }
}

/// A file without a name: a pipe could fill up while nobody reads.
fn scratch(name: &std::ffi::CStr) -> io::Result<File> {
    Ok(memfd_create(name, MemfdFlags::CLOEXEC)?.into())
}

fn read(file: &File) -> String {
    let size = file.metadata().map_or(0, |data| data.len());
    let size = usize::try_from(size).unwrap_or(0);
    let mut bytes = vec![0; size];
    // Not through the file's position: the child writes there.
    let read = file.read_at(&mut bytes, 0).unwrap_or(0);
    String::from_utf8_lossy(&bytes[..read]).into_owned()
}
