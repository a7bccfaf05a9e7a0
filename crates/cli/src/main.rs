//! The tool of the Coronet runtime: `coronet compare` measures it beside others on this machine, `coronet
//! doctor` says what this machine can do for it.
//!
//! Modules are declared top layer first, and use only what stands below them.

mod compare;

mod doctor;

mod launch;

mod machine;

mod exit;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// The tool of the Coronet runtime.
#[derive(Parser, Debug)]
#[command(name = "coronet", version, arg_required_else_help = true)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Measure Coronet beside raw loops and other runtimes on this machine.
    Compare(compare::Options),
    /// Say what this machine can do for Coronet, and what to change.
    Doctor(doctor::Options),
    /// Become a program that dies with its parent.
    #[command(name = "__start", hide = true)]
    Start(launch::Options),
}

fn main() -> ExitCode {
    match Line::parse().command {
        Command::Compare(options) => compare::run(&options),
        Command::Doctor(options) => doctor::run(&options),
        Command::Start(options) => launch::run(&options),
    }
}
