//! The programs that run in the machine: integration tests, and the one that lists capabilities.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

/// A static program.
pub(super) struct Program {
    pub(super) name: String,
    pub(super) path: PathBuf,
}

/// Prints the kernel's capabilities; it is no test.
pub(super) const CAPABILITIES: &str = "ring-capabilities";

const TARGET: &str = "x86_64-unknown-linux-gnu";
/// Need a compiler, or files of the workspace.
const NOT_THERE: [&str; 3] = ["coronet-compile_fail", "ring-compile_fail", "ring-coronet_ring"];

/// Builds them, without a shared library.
pub(super) fn build(root: &Path) -> Result<Vec<Program>, String> {
    let mut programs = cargo(root, &["build", "-p", "coronet-ring", "--example", "capabilities"])?;
    let packages = ["-p", "coronet-ring", "-p", "coronet-io", "-p", "coronet"];
    let mut tests = cargo(root, &[&["test", "--no-run", "--tests"][..], &packages].concat())?;
    tests.sort_by(|one, other| one.name.cmp(&other.name));
    // Capabilities first: who reads along wants to know what runs here.
    programs.append(&mut tests);
    programs.retain(|program| !NOT_THERE.contains(&program.name.as_str()));
    Ok(programs)
}

fn cargo(root: &Path, arguments: &[&str]) -> Result<Vec<Program>, String> {
    let mut cargo = Command::new("cargo");
    cargo.args(arguments).args(["--target", TARGET, "--message-format", "json-render-diagnostics"]);
    // Without what debuggers read they are small enough for the memory of a small machine.
    cargo.env("RUSTFLAGS", "-Ctarget-feature=+crt-static -Cstrip=debuginfo").current_dir(root);
    println!("==> cargo {}", arguments.join(" "));
    let output = cargo.stderr(Stdio::inherit()).output().map_err(|error| format!("cargo: {error}"))?;
    if !output.status.success() {
        return Err("the tests do not build".to_owned());
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(program).collect())
}

/// What a line of cargo says of a program that it built.
fn program(line: &str) -> Option<Program> {
    let message: Value = serde_json::from_str(line).ok()?;
    let path = PathBuf::from(message["executable"].as_str()?);
    let package = PathBuf::from(message["manifest_path"].as_str()?);
    let package = package.parent()?.file_name()?.to_string_lossy().into_owned();
    let target = message["target"]["name"].as_str()?;
    Some(Program { name: format!("{package}-{target}"), path })
}
