//! Other compilers and build directories than those of the everyday build.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What to type in front of `cargo` for a command of the nightly compiler.
pub(crate) const NIGHTLY: &str = "rustup run nightly";

/// Why there is no nightly compiler, if there is none.
pub(crate) fn lacks_nightly() -> Option<&'static str> {
    let finds = succeeds("rustup", &["run", "nightly", "rustc", "--version"]);
    (!finds).then_some("no nightly compiler; `rustup toolchain install nightly --profile minimal` brings one")
}

/// Whether a program can be started and ends well. What it prints is not shown.
pub(crate) fn succeeds(program: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(program);
    command.args(arguments).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// A build directory below the usual one: other flags would make the everyday build start anew.
pub(crate) fn target_directory(root: &Path, name: &str) -> PathBuf {
    let usual = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root.join(usual).join(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_not_there_does_not_succeed() {
        assert!(succeeds("true", &[]));
        assert!(!succeeds("false", &[]));
        assert!(!succeeds("no-such-program-of-coronet", &[]));
    }
}
