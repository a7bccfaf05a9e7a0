//! Programs of the machine: where they are, what they print, and their end.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// How long a server may take until it answers.
const START_MAX: Duration = Duration::from_secs(30);

/// A process that ends with this value.
pub(super) struct Running(pub(super) Child);

impl Drop for Running {
    fn drop(&mut self) {
        // If it has ended already, there is nothing to do.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Where `program` is: in the path, or where Debian keeps PostgreSQL's.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let newest_last = |directory: &str| {
        let entries = std::fs::read_dir(directory).into_iter().flatten().flatten();
        let mut found: Vec<_> = entries.map(|entry| entry.path().join("bin")).collect();
        found.sort();
        found
    };
    // A wrapper in the path may stand for a program that is to be started by another user.
    let postgres = newest_last("/usr/lib/postgresql").into_iter().rev();
    postgres.chain(std::env::split_paths(&path)).map(|place| place.join(program)).find(|file| file.is_file())
}

/// Starts a server; what it prints is not shown.
pub(super) fn start(command: &mut Command) -> Result<Running, String> {
    let command = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let name = command.get_program().display().to_string();
    command.spawn().map(Running).map_err(|error| format!("cannot start {name}: {error}"))
}

/// Waits until `is_up`.
pub(super) fn wait_for(what: &str, mut is_up: impl FnMut() -> bool) -> Result<(), String> {
    let start = Instant::now();
    while !is_up() {
        if start.elapsed() > START_MAX {
            return Err(format!("{what}: not there after {START_MAX:?}"));
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

/// What a program that is to succeed prints, both streams.
pub(super) fn output(program: &Path, arguments: &[&str]) -> Result<String, String> {
    let name = program.display();
    let mut command = Command::new(program);
    let out = command.args(arguments).stdin(Stdio::null()).output();
    let out = out.map_err(|error| format!("cannot start {name}: {error}"))?;
    let text = String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned();
    if out.status.success() { Ok(text) } else { Err(format!("{name} {}: {}", out.status, text.trim())) }
}

/// A port that nobody has at the moment.
pub(super) fn free_port() -> Result<u16, String> {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.map(|address| address.port()).map_err(|error| format!("no free port: {error}"))
}

/// Whether somebody has this port, by the kernel's own table: a connection that says nothing would be a failed
/// run to some.
pub(super) fn is_bound(port: u16) -> bool {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap_or_default();
    let end = format!(":{port:04X}");
    table.lines().filter_map(|line| line.split_whitespace().nth(1)).any(|local| local.ends_with(&end))
}
