//! `cargo xtask loom`: every order of a wake from another thread and a core that sleeps or dies.

use std::path::Path;

use crate::command_line;
use crate::tally::Tally;
use crate::toolchain::target_directory;

/// Runs the models; true if none failed.
pub(crate) fn run(root: &Path) -> bool {
    let mut tally = Tally::default();
    let line = format!(
        "RUSTFLAGS=--cfg=loom cargo test -p coronet-exec --test loom --release --target-dir {}",
        target_directory(root, "loom").display()
    );
    tally.run("loom", || (command_line::run(root, &line), String::new()));
    tally.finish()
}
