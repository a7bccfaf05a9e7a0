//! `cargo xtask fuzz`: libFuzzer chooses what the simulated kernel does.

use std::path::Path;

use clap::Args;

use crate::command_line;
use crate::tally::Tally;
use crate::toolchain::{NIGHTLY, lacks_nightly, succeeds};

/// How long to look.
#[derive(Args)]
pub(crate) struct Options {
    /// Seconds of fuzzing, after the build.
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u32).range(1..))]
    seconds: u32,
}

/// Fuzzes; true if nothing was found.
pub(crate) fn run(root: &Path, options: &Options) -> bool {
    let mut tally = Tally::default();
    if let Some(reason) = lacks_nightly() {
        tally.skip("fuzz", reason);
    } else if !has_cargo_fuzz(root) {
        tally.skip("fuzz", "no cargo-fuzz, and `cargo install cargo-fuzz` does not bring it");
    } else {
        let seconds = options.seconds;
        // A tape longer than this chooses what happens after the last byte has come back.
        let line = format!(
            "{NIGHTLY} cargo fuzz run tape -- -max_total_time={seconds} -max_len=8192 -print_final_stats=1"
        );
        tally.run("fuzz", || (command_line::run(root, &line), format!("{seconds} s of fuzzing")));
    }
    tally.finish()
}

fn has_cargo_fuzz(root: &Path) -> bool {
    succeeds("cargo", &["fuzz", "--version"])
        || command_line::run(root, &format!("{NIGHTLY} cargo install cargo-fuzz --locked"))
}
