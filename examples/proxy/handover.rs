//! Handing the listening sockets to a successor.
//!
//! The successor inherits the very descriptors, as systemd hands them to a service: `LISTEN_FDS` of them from
//! number 3 on, with their roles in `LISTEN_FDNAMES`. So there is one queue of waiting connections all the time,
//! and none is lost in it; a second socket on the same port (`SO_REUSEPORT`) would lose what waits in the first
//! when that is closed. When the successor serves, it sends SIGTERM to its parent, which then drains.

use std::env;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::{Pid, Signal, getpid, getppid, kill_process};

use crate::listeners::{self, NAMES};

/// The process that handed its sockets to this one.
const PREDECESSOR: &str = "CORONET_PROXY_PREDECESSOR";
const METRICS: &str = "metrics";
/// The first descriptor that is handed on; below are input, output and errors.
const FIRST: i32 = 3;

/// What this process was started with.
pub(crate) struct Inherited {
    /// None, unless somebody listens for us already.
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) metrics: Option<TcpListener>,
    predecessor: Option<Pid>,
}

/// Takes what was handed on. For the start of the process, before other descriptors are opened.
///
/// # Errors
/// If what is announced is not there, or is no listening socket for `listen`.
pub(crate) fn inherit(listen: SocketAddr) -> io::Result<Inherited> {
    let mut inherited = Inherited { listeners: Vec::new(), metrics: None, predecessor: None };
    for (name, listener) in listeners::inherited()? {
        if name == METRICS {
            inherited.metrics = Some(listener);
            continue;
        }
        let address = listener.local_addr()?;
        let fits = address.ip() == listen.ip() && (listen.port() == 0 || address.port() == listen.port());
        if !fits {
            let text = format!(
                "the inherited socket listens on {address}, and the configuration says {listen}: a new address needs \
                 a new start, not a hand-over"
            );
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        inherited.listeners.push(listener);
    }
    let predecessor = env::var(PREDECESSOR).ok().and_then(|pid| pid.parse().ok());
    inherited.predecessor = predecessor.and_then(Pid::from_raw).filter(|pid| getppid() == Some(*pid));
    Ok(inherited)
}

impl Inherited {
    /// Tells the predecessor that it may go, now that this process serves.
    pub(crate) fn take_over(&self) {
        // Only our parent: another process may have its number once it is gone.
        if let Some(pid) = self.predecessor.filter(|pid| getppid() == Some(*pid)) {
            // It fails if it is gone, which is what we want.
            let _ = kill_process(pid, Signal::TERM);
        }
    }
}

/// The sockets to hand on; as long as they are open here, the kernel listens.
pub(crate) struct HandOver {
    pub(crate) listeners: Vec<TcpListener>,
    pub(crate) metrics: Option<TcpListener>,
    program: PathBuf,
}

impl HandOver {
    /// Copies of the descriptors that this process serves.
    ///
    /// # Errors
    /// When the process has no descriptor left.
    pub(crate) fn new(listeners: &[TcpListener], metrics: Option<&TcpListener>) -> io::Result<Self> {
        Ok(Self {
            listeners: listeners.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?,
            metrics: metrics.map(TcpListener::try_clone).transpose()?,
            // Asked now: once the file is replaced by a new version, the kernel calls this one deleted.
            program: env::current_exe()?,
        })
    }

    /// Starts the successor: the program that is installed now, with our arguments.
    ///
    /// # Errors
    /// If it cannot be started.
    pub(crate) fn start_successor(&self) -> io::Result<Child> {
        let mut mappings = Vec::new();
        let mut names = Vec::new();
        let roles = self.listeners.iter().map(|listener| (listener, "listen"));
        for (listener, role) in roles.chain(self.metrics.iter().map(|listener| (listener, METRICS))) {
            let parent_fd = OwnedFd::from(listener.try_clone()?);
            mappings.push(FdMapping { parent_fd, child_fd: FIRST + mappings.len() as i32 });
            names.push(role);
        }
        let mut command = Command::new(&self.program);
        command.args(env::args_os().skip(1)).stdin(Stdio::null());
        command.env("LISTEN_FDS", mappings.len().to_string()).env_remove("LISTEN_PID");
        command.env(NAMES, names.join(":")).env(PREDECESSOR, getpid().to_string());
        command.fd_mappings(mappings).map_err(io::Error::other)?;
        command.spawn()
    }
}
