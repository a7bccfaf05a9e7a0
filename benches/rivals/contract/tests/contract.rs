//! Every program of this workspace keeps the contract, in each of its variants.
//!
//! A program that does not build or does not start here is a printed, counted SKIP.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use rival_contract::Program;

/// The programs with the options of their variants.
const VARIANTS: &[(&str, &[&str])] = &[
    ("rival-tokio-ct", &[]),
    ("rival-tokio-ct", &["--threads", "2"]),
    ("rival-tokio-mt", &[]),
    ("rival-tokio-mt", &["--threads", "2"]),
    ("rival-smol", &[]),
    ("rival-smol", &["--threads", "2"]),
    ("rival-monoio", &[]),
    ("rival-monoio", &["--defer-taskrun", "--threads", "2"]),
    ("rival-compio", &[]),
    ("rival-compio", &["--defer-taskrun", "--threads", "2"]),
    ("rival-compio", &["--multishot"]),
    ("rival-glommio", &[]),
    ("rival-glommio", &["--threads", "2"]),
    ("rival-std-threads", &[]),
    ("rival-std-threads", &["--threads", "2"]),
];

/// Those that are installed, not built: proxies and nothing else.
const PROXIES: &[&str] = &["rival-haproxy", "rival-nginx"];

#[test]
fn every_program_keeps_the_contract() {
    let (mut broken, mut skipped) = (Vec::new(), 0);
    for (name, options) in VARIANTS {
        let called = format!("{name} {}", options.join(" "));
        let path = match build(name) {
            Ok(path) => path,
            Err(reason) => {
                println!("SKIP {called}: it does not build: {reason}");
                skipped += 1;
                continue;
            }
        };
        let program = Program::new(path, options);
        if let Err(reason) = program.start(&[]) {
            println!("SKIP {called}: it does not start: {reason}");
            skipped += 1;
            continue;
        }
        let mut checks = vec![
            ("echo", program.echoes()),
            ("sink", program.sinks()),
            ("proxy", program.proxies(&[])),
            ("proxy with a buffer", program.proxies(&["--buffer", "16384"])),
            ("bad options", program.refuses_bad_options()),
        ];
        if *name == "rival-monoio" {
            checks.push(("proxy that splices", program.proxies(&["--splice"])));
        }
        for (what, verdict) in checks {
            if let Err(fault) = verdict {
                broken.push(format!("{called}: {what}: {fault}"));
            }
        }
        println!("checked {called}");
    }
    println!("{} variants, {skipped} of them SKIP", VARIANTS.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn installed_proxies_keep_the_contract_of_a_proxy() {
    let (mut broken, mut skipped) = (Vec::new(), 0);
    for name in PROXIES {
        let program = Program::new(build(name).expect("they have no runtime that could fail to build"), &[]);
        let program = program.killed_by_sigterm();
        if let Err(reason) = program.start(&["--mode", "proxy", "--to", "127.0.0.1:9"]) {
            println!("SKIP {name}: it does not start: {reason}");
            skipped += 1;
            continue;
        }
        let checks = [
            ("proxy", program.proxies(&[])),
            ("proxy with a buffer", program.proxies(&["--buffer", "32768"])),
            ("bad options", program.refuses_bad_options()),
        ];
        broken.extend(
            checks
                .into_iter()
                .filter_map(|(what, verdict)| verdict.err().map(|fault| format!("{name}: {what}: {fault}"))),
        );
    }
    println!("{} proxies, {skipped} of them SKIP", PROXIES.len());
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

/// Builds a program in the profile that this test was built in, and says where it is.
fn build(name: &str) -> Result<PathBuf, String> {
    let own = env::current_exe().map_err(|error| error.to_string())?;
    let directory = own.ancestors().nth(2).ok_or("the test has no directory")?;
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["build", "--quiet", "--package", name]).arg("--target-dir");
    cargo.arg(directory.parent().ok_or("the profile has no directory")?);
    cargo.current_dir(Path::new(env!("CARGO_MANIFEST_DIR")));
    if directory.ends_with("release") {
        cargo.arg("--release");
    }
    let output = cargo.output().map_err(|error| error.to_string())?;
    if output.status.success() {
        return Ok(directory.join(name));
    }
    let errors = String::from_utf8_lossy(&output.stderr);
    Err(errors.lines().find(|line| line.starts_with("error")).unwrap_or("no reason given").to_owned())
}
