//! `coronet __start`: the first moments of a child process, before it becomes the program.
//!
//! It asks the kernel to kill it when its parent dies, pins itself, and executes the program; both
//! survive the execution. So no server outlives the tool, not even one that was killed with SIGKILL,
//! and no unsafe code between fork and exec is needed.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Command, ExitCode};

use clap::Args;
use rustix::process::{Pid, Signal, getppid, set_parent_process_death_signal};
use rustix::thread::{CpuSet, sched_setaffinity};

/// The exit code that says that the program could not be executed.
const NOT_STARTED: u8 = 127;

/// Becomes a program that dies with its parent.
#[derive(Args, Debug)]
pub(crate) struct Options {
    /// The process that has to live.
    #[arg(long)]
    parent: i32,
    /// The only CPU to run on.
    #[arg(long)]
    cpu: Option<usize>,
    /// The program.
    program: PathBuf,
    /// Its arguments.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    arguments: Vec<OsString>,
}

/// Does not return if all goes well.
pub(crate) fn run(options: &Options) -> ExitCode {
    if let Err(error) = prepare(options) {
        eprintln!("cannot prepare {}: {error}", options.program.display());
        return ExitCode::from(NOT_STARTED);
    }
    let error = Command::new(&options.program).args(&options.arguments).exec();
    eprintln!("cannot start {}: {error}", options.program.display());
    ExitCode::from(NOT_STARTED)
}

fn prepare(options: &Options) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    // The parent may have died before the line above; then the signal never comes.
    if getppid() != Pid::from_raw(options.parent) {
        return Err(std::io::Error::other("the process that started it has ended"));
    }
    if let Some(cpu) = options.cpu {
        let mut set = CpuSet::new();
        set.set(cpu);
        sched_setaffinity(None, &set)?;
    }
    Ok(())
}
