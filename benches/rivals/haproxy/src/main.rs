//! haproxy as installed on this machine, one thread: a proxy for TCP, nothing else.
//!
//! This program opens the listener, says where, and becomes haproxy: what is measured is haproxy alone.

use std::fmt::{self, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::process::{Command, ExitCode};

use rival_options::{Common, Outcome, Plain, Ready, installed};

fn main() -> ExitCode {
    rival_options::run(|Plain { common }| serve(&common))
}

fn serve(common: &Common) -> Outcome {
    let to = installed::only_proxies(common, "haproxy")?;
    installed::is_there("haproxy")?;
    let listener = rival_options::listener(common.listen, true)?;
    let (file, path) = installed::file_for(&configuration(&listener, to, common)?)?;
    let mut command = Command::new("haproxy");
    command.args(["-db", "-q", "-f", &path]);
    // The kernel queues whoever connects before haproxy runs.
    Ready::new(listener.local_addr()?, 1).now()?;
    installed::become_it(command, [listener.into(), file])
}

fn configuration(listener: &TcpListener, to: SocketAddr, common: &Common) -> Result<String, fmt::Error> {
    let mut text = String::from("global\n");
    writeln!(text, "    nbthread {}", common.threads)?;
    writeln!(text, "    tune.bufsize {}", common.buffer_or_default())?;
    text.push_str(
        "defaults\n    mode tcp\n    timeout connect 10s\n    timeout client 1h\n    timeout server 1h\n",
    );
    writeln!(text, "listen proxy\n    bind fd@{}\n    server upstream {to}", listener.as_raw_fd())?;
    Ok(text)
}
