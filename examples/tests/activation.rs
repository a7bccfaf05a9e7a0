//! The example that systemd starts, started as systemd does: with its sockets, and a place to say that it is ready.

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::PathBuf;
use std::process::Command;

use command_fds::{CommandFdExt, FdMapping};
use rustix::process::Signal;
use support::proxy::connect;
use support::{Echo, HANG, can_run, example};

/// A socket for notifications, as a service manager has it; it vanishes with the test.
struct Manager {
    path: PathBuf,
    socket: UnixDatagram,
}

impl Manager {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("coronet-{name}-{}", std::process::id()));
        let _ = std::fs::remove_file(&path);
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_read_timeout(Some(HANG)).unwrap();
        Self { path, socket }
    }

    fn hears(&self) -> String {
        let mut bytes = [0; 4096];
        let count = loop {
            match self.socket.recv(&mut bytes) {
                // The process was paused.
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                result => break result.unwrap(),
            }
        };
        String::from_utf8(bytes[..count].to_vec()).unwrap()
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        let _ = std::fs::remove_file(&self.path);
    }
}

/// The example with these sockets from descriptor 3 on. `LISTEN_PID` is that of the process that the shell
/// becomes.
fn activated(sockets: &[TcpListener], pid: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new("sh");
    let script = format!("LISTEN_PID={pid} exec \"$0\" \"$@\"");
    command.args(["-c", &script]).arg(example("listen_fds").get_program()).args(arguments);
    command.stdin(std::process::Stdio::null());
    command.stdout(std::process::Stdio::piped()).stderr(std::process::Stdio::piped());
    command.env("LISTEN_FDS", sockets.len().to_string()).env_remove("RUST_BACKTRACE");
    let mapping = |(index, socket): (usize, &TcpListener)| FdMapping {
        parent_fd: OwnedFd::from(socket.try_clone().unwrap()),
        child_fd: 3 + index as i32,
    };
    command.fd_mappings(sockets.iter().enumerate().map(mapping).collect()).unwrap();
    command
}

fn assert_echoes(client: &mut TcpStream) {
    client.write_all(b"ping").unwrap();
    let mut answer = [0; 4];
    client.read_exact(&mut answer).unwrap();
    assert_eq!(&answer, b"ping");
}

/// The trap: a client that came before the server waits in the backlog, and one that comes after must not find
/// another queue.
#[test]
fn clients_that_wait_in_the_socket_before_the_start_are_served_and_the_manager_is_told() {
    const NAME: &str = "clients_that_wait_in_the_socket_before_the_start_are_served_and_the_manager_is_told";
    if !can_run(NAME) {
        return;
    }
    for backend in ["auto", "epoll"] {
        // More than cores, and fewer.
        for count in [1, 3] {
            let manager = Manager::new("ready");
            let sockets: Vec<_> = (0..count).map(|_| TcpListener::bind("127.0.0.1:0").unwrap()).collect();
            let mut early: Vec<_> =
                sockets.iter().map(|socket| connect(socket.local_addr().unwrap())).collect();
            let mut command = activated(&sockets, "$$", &["--cores", "2", "--backend", backend]);
            command.env("NOTIFY_SOCKET", &manager.path);
            let server = Echo::of(command);
            assert!(server.line.contains(", handed over, "), "{}", server.line);
            let said = manager.hears();
            assert!(said.starts_with("READY=1\nSTATUS=listen_fds on "), "{said}");
            early.iter_mut().for_each(assert_echoes);
            for socket in &sockets {
                assert_echoes(&mut connect(socket.local_addr().unwrap()));
            }
            server.signal(Signal::TERM);
            let said = manager.hears();
            assert!(said.starts_with("STOPPING=1\n"), "{said}");
            // It drains: who is connected is still served.
            early.iter_mut().for_each(assert_echoes);
            drop(early);
            let end = server.end();
            assert_eq!((end.status.code(), &*end.stdout, &*end.stderr), (Some(0), "", ""));
        }
    }
}

/// The trap: a socket unit keeps the socket when the service ends, so the next one finds who came in between.
#[test]
fn a_client_that_comes_between_two_servers_is_served_by_the_second() {
    if !can_run("a_client_that_comes_between_two_servers_is_served_by_the_second") {
        return;
    }
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap()];
    let server = Echo::of(activated(&sockets, "$$", &["--cores", "2"]));
    assert_echoes(&mut server.connect());
    server.signal(Signal::TERM);
    assert!(server.end().status.success());
    let mut between = connect(sockets[0].local_addr().unwrap());
    let _server = Echo::of(activated(&sockets, "$$", &["--cores", "2"]));
    assert_echoes(&mut between);
}

#[test]
fn sockets_for_another_process_are_left_alone() {
    let sockets = [TcpListener::bind("127.0.0.1:0").unwrap()];
    let output = activated(&sockets, "1", &[]).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("listen_fds: no socket was handed over"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}

#[test]
fn a_descriptor_that_is_no_listening_socket_is_one_line() {
    let mut command = activated(&[], "$$", &[]);
    // Descriptor 3 is a file.
    let file = OwnedFd::from(std::fs::File::open("/dev/null").unwrap());
    command.fd_mappings(vec![FdMapping { parent_fd: file, child_fd: 3 }]).unwrap();
    let output = command.env("LISTEN_FDS", "1").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.starts_with("listen_fds: LISTEN_FDS: descriptor 3 is no listening TCP socket"), "{said}");
    assert_eq!(said.lines().count(), 1, "{said}");
}
