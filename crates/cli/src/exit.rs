//! The exit codes, and the one line that goes with a failure.

use std::process::ExitCode;

/// Worse than the baseline; or, of `doctor`, no io_uring here.
pub(crate) fn worse() -> ExitCode {
    ExitCode::from(1)
}

/// What was asked for makes no sense. The same code that clap uses.
pub(crate) fn usage(error: &anyhow::Error) -> ExitCode {
    eprintln!("coronet: {error:#}");
    ExitCode::from(2)
}

/// It could not be done.
pub(crate) fn failed(error: &anyhow::Error) -> ExitCode {
    eprintln!("coronet: {error:#}");
    ExitCode::from(3)
}

/// Ctrl-C or SIGTERM, as a shell tells it.
pub(crate) fn interrupted() -> ExitCode {
    eprintln!("coronet: interrupted; the report holds what was measured until then");
    ExitCode::from(130)
}
