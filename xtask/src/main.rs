//! `cargo xtask`: the checks of this repository, as one program.
//!
//! `cargo xtask ci` runs all that continuous integration runs; `cargo xtask tidy`
//! runs the checks that no other tool knows; `cargo xtask masks` plays older kernels. Every check of CI can be run here, on
//! a laptop, with the same result.

mod ci;
mod masks;
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
    /// Run the tests as on older kernels, and on epoll.
    Masks(masks::Options),
    /// Check the rules of docs/STYLE.md that a program can check.
    Tidy,
}

fn main() -> ExitCode {
    let root = root();
    let fine = match Arguments::parse().command {
        Command::Ci(options) => ci::run(&root, &options),
        Command::Masks(options) => masks::run(&root, &options),
        Command::Tidy => tidy::run(&root),
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
