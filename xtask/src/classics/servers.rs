//! The servers that stand behind the proxy, each started for one run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::process::{Running, find, free_port, is_bound, output, start, wait_for};

/// A server that answers on a port of this machine.
pub(super) struct Server {
    pub(super) port: u16,
    /// Where PostgreSQL keeps its data.
    data: Option<PathBuf>,
    process: Option<Running>,
}

impl Server {
    fn of(process: Running, port: u16) -> Self {
        Self { port, data: None, process: Some(process) }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let Some(data) = &self.data else { return };
        // Its processes end with their first one, and only when it is asked to.
        let stop = format!("pg_ctl -D {} -m immediate stop", data.display());
        if let Err(why) = as_postgres(&stop) {
            println!("PostgreSQL: {why}");
        }
        drop(self.process.take());
        // It is in the directory for temporary files, and of no use to anybody.
        let _ = std::fs::remove_dir_all(data);
    }
}

fn program(name: &str) -> Command {
    Command::new(find(name).unwrap_or_else(|| PathBuf::from(name)))
}

pub(super) fn redis() -> Result<Server, String> {
    let port = free_port()?;
    let text = port.to_string();
    let mut command = program("redis-server");
    command.args(["--port", &text, "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]);
    let process = start(&mut command)?;
    wait_for("redis-server", || is_bound(port))?;
    Ok(Server::of(process, port))
}

pub(super) fn iperf3() -> Result<Server, String> {
    let port = free_port()?;
    let process = start(program("iperf3").args(["-s", "-B", "127.0.0.1", "-p", &port.to_string()]))?;
    wait_for("iperf3", || is_bound(port))?;
    Ok(Server::of(process, port))
}

/// The other end is a part of the run: `nc` listens when it is started.
pub(super) fn nobody_yet() -> Result<Server, String> {
    Ok(Server { port: free_port()?, data: None, process: None })
}

pub(super) fn postgres() -> Result<Server, String> {
    let port = free_port()?;
    let data = as_postgres("mktemp -d -t coronet-classics.XXXXXX")?;
    let data = PathBuf::from(data.trim());
    let at = data.display();
    as_postgres(&format!("initdb -D {at} -A trust -U postgres -N"))?;
    let options = format!(
        "-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={at} -c max_connections=120 -c fsync=off"
    );
    let mut command = shell_of_postgres(&format!("exec postgres -D {at} {options}"));
    let process = start(&mut command)?;
    let server = Server { port, data: Some(data.clone()), process: Some(process) };
    let ready = program("pg_isready").get_program().to_owned();
    let port = port.to_string();
    wait_for("postgres", || output(Path::new(&ready), &["-q", "-h", "127.0.0.1", "-p", &port]).is_ok())?;
    Ok(server)
}

/// PostgreSQL refuses to run as root.
fn shell_of_postgres(line: &str) -> Command {
    let programs = find("initdb").and_then(|file| file.parent().map(Path::to_path_buf)).unwrap_or_default();
    let line = format!("cd /; PATH={}:$PATH; {line}", programs.display());
    let is_root = output(Path::new("id"), &["-u"]).is_ok_and(|id| id.trim() == "0");
    let mut command = if is_root { Command::new("runuser") } else { Command::new("sh") };
    if is_root {
        command.args(["-u", "postgres", "--", "sh"]);
    }
    command.args(["-c", &line]);
    command
}

fn as_postgres(line: &str) -> Result<String, String> {
    let out = shell_of_postgres(line).output().map_err(|error| format!("{line}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    if out.status.success() { Ok(text(&out.stdout)) } else { Err(format!("{line}: {}", text(&out.stderr))) }
}
