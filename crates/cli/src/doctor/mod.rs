//! `coronet doctor`: what this machine can do for Coronet, and what to change.
//!
//! Looking is one thing ([`gather`]), judging another ([`judge`], pure), saying a third ([`text`], pure).

mod text;
mod judge;
mod gather;
mod facts;

use std::process::ExitCode;

use clap::Args;
use serde::Serialize;

use self::facts::Facts;
use self::judge::Finding;
use crate::exit;

/// Says which backend runs here and why, what the kernel can do, and which limits stand in the way.
///
/// Exit code 0: Coronet runs here. 1: it does not.
#[derive(Args, Clone, Debug)]
pub(crate) struct Options {
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What `--json` prints.
#[derive(Serialize)]
struct Answer<'all> {
    runs: bool,
    findings: &'all [Finding],
    facts: &'all Facts,
}

/// Runs the subcommand.
pub(crate) fn run(options: &Options) -> ExitCode {
    let facts = gather::gather();
    let findings = judge::judge(&facts);
    let runs = facts.backend.is_ok();
    if options.json {
        let answer = Answer { runs, findings: &findings, facts: &facts };
        match serde_json::to_string_pretty(&answer) {
            Ok(text) => println!("{text}"),
            Err(error) => return exit::failed(&error.into()),
        }
    } else {
        print!("{}", text::render(&findings));
    }
    if runs { ExitCode::SUCCESS } else { exit::worse() }
}
