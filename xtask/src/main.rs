//! `cargo xtask`: the checks of this repository, as one program.
//!
//! `cargo xtask ci` runs all that continuous integration runs; `cargo xtask tidy`
//! runs the checks that no other tool knows, and `cargo xtask docs` writes the pages that are made from
//! the code. The others take longer, and look where those cannot: older kernels, freed memory, failing
//! calls, orders of threads, choices of a fuzzer. Each can be run on a laptop, with the same result.

mod ci;
mod kernels;
mod masks;
mod blocked;
mod classics;
mod storm;
mod mutants;
mod asan;
mod inject;
mod loom;
mod fuzz;
mod tally;
mod toolchain;
mod outcome;
mod capabilities;
mod command_line;
mod tidy;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Checks of the Coronet workspace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run what continuous integration runs: tests, format, clippy, docs, tidy.
    Ci(ci::Options),
    /// Run the tests on an older kernel, in a virtual machine.
    Kernels(kernels::Options),
    /// Run the tests as on older kernels, and on epoll.
    Masks(masks::Options),
    /// Run all tests where io_uring is refused.
    Blocked(blocked::Options),
    /// Run redis-benchmark, pgbench, iperf3 and nc through the proxy example.
    Classics,
    /// Run the conformance suite in the simulated kernel under many seeds, on all CPUs.
    Storm(storm::Options),
    /// Show that the conformance suite finds each fault that is planted in the runtime.
    Mutants,
    /// Check the rules of docs/STYLE.md that a program can check.
    Tidy,
    /// Write the pages of docs/ that are made from the code.
    Docs,
    /// Run the tests under AddressSanitizer (nightly compiler).
    Asan,
    /// Run tests while entering the ring fails and signals arrive (strace).
    Inject,
    /// Try every order of wakes between threads.
    Loom,
    /// Let a fuzzer choose what the simulated kernel does (nightly compiler, cargo-fuzz).
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let root = root();
    let fine = match Arguments::parse().command {
        Command::Ci(options) => ci::run(&root, &options),
        Command::Kernels(options) => kernels::run(&root, &options),
        Command::Masks(options) => masks::run(&root, &options),
        Command::Blocked(options) => blocked::run(&root, &options),
        Command::Classics => classics::run(&root),
        Command::Storm(options) => storm::run(&root, &options),
        Command::Mutants => mutants::run(&root),
        Command::Tidy => tidy::run(&root),
        Command::Docs => tidy::write_documents(&root),
        Command::Asan => asan::run(&root),
        Command::Inject => inject::run(&root),
        Command::Loom => loom::run(&root),
        Command::Fuzz(options) => fuzz::run(&root, &options),
    };
    if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// The workspace's directory. Cargo names the package's at run time, which stays
/// right when two checkouts share a target directory.
fn root() -> PathBuf {
    let package = std::env::var_os("CARGO_MANIFEST_DIR")
        .map_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")), PathBuf::from);
    package.parent().expect("the package is a directory of the workspace").to_path_buf()
}
