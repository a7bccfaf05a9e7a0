//! The frame of a small program: options in, one clear line on what went wrong, an exit code.
//!
//! What the program does is its own.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

/// Reads the options and runs the program `name`: 2 for wrong options, 1 for a failure.
pub(crate) fn run<O: Parser>(name: &str, run: impl FnOnce(&O) -> io::Result<()>) -> ExitCode {
    let options = match O::try_parse() {
        Ok(options) => options,
        Err(error) if error.use_stderr() => {
            // One line, without the hints behind it.
            let text = error.to_string();
            let line = text.lines().next().unwrap_or_default();
            let _ = writeln!(io::stderr(), "{name}: {}", line.trim_start_matches("error: "));
            return ExitCode::from(2);
        }
        // Help and version, which are no errors.
        Err(help) => help.exit(),
    };
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Nowhere to say it is no reason to panic.
            let _ = writeln!(io::stderr(), "{name}: {error}");
            ExitCode::FAILURE
        }
    }
}
