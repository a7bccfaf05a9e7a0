//! Listening sockets that a process was started with, and how cores share them.
//!
//! systemd hands them over so (`LISTEN_FDS` of them from descriptor 3 on, for the process `LISTEN_PID`, named by
//! `LISTEN_FDNAMES`), and so does a predecessor to its successor. Who may use which is the program's to say.

use std::env;
use std::io;
use std::net::TcpListener;

use listenfd::ListenFd;

/// What names the descriptors, separated by colons.
pub(crate) const NAMES: &str = "LISTEN_FDNAMES";

/// Takes what was handed on, each with its name. For the start of the process, before other descriptors are
/// opened.
///
/// # Errors
/// If what is announced is not there, or is no listening TCP socket.
pub(crate) fn inherited() -> io::Result<Vec<(String, TcpListener)>> {
    let names = env::var(NAMES).unwrap_or_default();
    let mut names = names.split(':');
    let mut handed_on = ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..handed_on.len() {
        let name = names.next().unwrap_or_default().to_owned();
        let taken = handed_on.take_tcp_listener(index).map_err(|error| {
            let text = format!("LISTEN_FDS: descriptor {} is no listening TCP socket: {error}", index + 3);
            io::Error::new(error.kind(), text)
        })?;
        if let Some(listener) = taken {
            listeners.push((name, listener));
        }
    }
    Ok(listeners)
}

/// Each core's listeners. There may be more of them than cores, or fewer: then a core has several, or shares one.
///
/// # Errors
/// When the process has no descriptor left.
pub(crate) fn shares(listeners: Vec<TcpListener>, cores: usize) -> io::Result<Vec<Vec<TcpListener>>> {
    let mut shares: Vec<Vec<TcpListener>> = Vec::new();
    shares.resize_with(cores, Vec::new);
    let count = listeners.len();
    for core in count..cores {
        shares[core].push(listeners[core % count].try_clone()?);
    }
    for (index, listener) in listeners.into_iter().enumerate() {
        shares[index % cores].push(listener);
    }
    Ok(shares)
}
