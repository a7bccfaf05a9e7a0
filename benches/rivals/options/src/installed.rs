//! Programs that are measured as the machine has them. They know nothing of the contract, so ours opens
//! what they need, says where they listen, and becomes them: they alone are measured.

use std::env;
use std::error::Error;
use std::fs::File;
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::{Command, ExitCode};
use std::thread;
use std::time::Duration;

use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::getppid;

use crate::{Common, Outcome, Ready, Service};

/// Tells a copy of our program whom to announce.
const ANNOUNCE: &str = "RIVAL_ANNOUNCE";

/// Where to connect to.
///
/// # Errors
/// Anything but `--mode proxy`.
pub fn only_proxies(common: &Common, name: &str) -> Result<SocketAddr, Box<dyn Error>> {
    match common.service() {
        Service::Proxy(to) => Ok(to),
        Service::Echo | Service::Sink => {
            Err(format!("{name} only proxies: use --mode proxy --to ADDR").into())
        }
    }
}

/// A file without a name that holds `text`, and the path by which a program that inherits it opens it.
///
/// # Errors
/// No memory.
pub fn file_for(text: &str) -> io::Result<(OwnedFd, String)> {
    let mut file = File::from(memfd_create("configuration", MemfdFlags::CLOEXEC)?);
    file.write_all(text.as_bytes())?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    Ok((file.into(), path))
}

/// Runs `command`, which inherits `files`, instead of this program.
///
/// # Errors
/// It cannot be started, and why.
pub fn become_it<const N: usize>(mut command: Command, files: [OwnedFd; N]) -> Outcome {
    for file in &files {
        fcntl_setfd(file, FdFlags::empty())?;
    }
    let error = command.exec();
    Err(format!("start {}: {error}", command.get_program().display()).into())
}

/// Whether there is a program of this name.
///
/// # Errors
/// There is not, and what to do.
pub fn is_there(name: &str) -> Outcome {
    let path = env::var_os("PATH").unwrap_or_default();
    let found = env::split_paths(&path).any(|directory| directory.join(name).is_file());
    if found { Ok(()) } else { Err(format!("{name} is not installed: apt-get install {name}").into()) }
}

/// Lets a copy of this program say where it listens as soon as `address` accepts; for one that opens its
/// own listener. Its main function has to begin with [`announced`].
///
/// # Errors
/// No process can be had.
pub fn announce(address: SocketAddr) -> io::Result<()> {
    Command::new(env::current_exe()?).env(ANNOUNCE, address.to_string()).spawn().map(drop)
}

/// In a copy of this program that has something to announce: how it went.
#[must_use]
pub fn announced() -> Option<ExitCode> {
    let address: SocketAddr = env::var(ANNOUNCE).ok()?.parse().ok()?;
    let whose = getppid();
    // Whoever is waited for may end instead; then somebody else is our parent.
    while getppid() == whose {
        if TcpStream::connect(address).is_ok() {
            let said = Ready::new(address, 1).now();
            return Some(if said.is_ok() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
        thread::sleep(Duration::from_millis(2));
    }
    Some(ExitCode::FAILURE)
}
