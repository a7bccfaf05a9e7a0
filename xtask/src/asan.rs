//! `cargo xtask asan`: the tests under AddressSanitizer, which sees each use of freed memory by our own
//! code, and each access beyond an end. What the kernel touches it does not see: `guard.rs` of the
//! facade's tests does.

use std::path::Path;

use crate::command_line;
use crate::tally::Tally;
use crate::toolchain::{NIGHTLY, lacks_nightly, target_directory};

const PACKAGES: &str = "-p coronet-ring -p coronet-io -p coronet-exec -p coronet-sim -p coronet";

/// Builds the tests with the sanitizer and runs them; true if nothing failed.
pub(crate) fn run(root: &Path) -> bool {
    let mut tally = Tally::default();
    if let Some(reason) = lacks_nightly() {
        tally.skip("asan", reason);
        return tally.finish();
    }
    let directory = target_directory(root, "asan");
    let arch = std::env::consts::ARCH;
    // Naming the target keeps the flags away from build scripts and macros. Leaks are not looked for: what
    // the kernel still has at the end of a drain is leaked on purpose. What must not compile is left out,
    // because the texts of its errors are those of the stable compiler.
    let line = format!(
        "RUSTFLAGS=-Zsanitizer=address ASAN_OPTIONS=detect_leaks=0 {NIGHTLY} cargo test --no-fail-fast {PACKAGES} \
         --tests --target {arch}-unknown-linux-gnu --target-dir {} -- --skip do_not_compile",
        directory.display()
    );
    tally.run("asan", || (command_line::run(root, &line), String::new()));
    tally.finish()
}
