//! Checks from outside that a program does what every measured program promises.
//!
//! Each check starts the program, talks to it over TCP and ends it with SIGTERM. It says in one sentence what
//! is wrong. How fast the program is, is another matter.

use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

/// What a check finds wrong.
pub type Verdict = Result<(), String>;

/// How long anything may take; a program that is healthy needs milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);
/// Bytes of a large exchange: more than any buffer on the way holds.
const LARGE: usize = 8 << 20;

/// A program with the options that choose a variant of it.
#[derive(Clone, Debug)]
pub struct Program {
    path: PathBuf,
    options: Vec<String>,
    catches_sigterm: bool,
}

/// A program that runs and listens; it is killed when this is dropped.
#[derive(Debug)]
pub struct Running {
    child: Child,
    output: BufReader<ChildStdout>,
    catches_sigterm: bool,
    /// Where it listens.
    pub address: SocketAddr,
}

impl Program {
    /// The program at `path`, started with `options`.
    pub fn new(path: impl Into<PathBuf>, options: &[&str]) -> Self {
        let options = options.iter().map(|&word| word.to_owned()).collect();
        Self { path: path.into(), options, catches_sigterm: true }
    }

    /// The same, but SIGTERM may simply kill it.
    #[must_use]
    pub fn killed_by_sigterm(self) -> Self {
        Self { catches_sigterm: false, ..self }
    }

    /// Starts it with `more` options and waits until it says where it listens.
    ///
    /// # Errors
    /// What it says on its error stream, if it ends instead.
    pub fn start(&self, more: &[&str]) -> Result<Running, String> {
        let mut command = Command::new(&self.path);
        command.args(["--listen", "127.0.0.1:0"]).args(&self.options).args(more);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().map_err(|error| format!("start {}: {error}", self.path.display()))?;
        let mut output = BufReader::new(child.stdout.take().expect("the output is piped"));
        let mut line = String::new();
        let read = output.read_line(&mut line);
        let address = line.trim_end().strip_prefix("listening on ").and_then(|text| text.parse().ok());
        match address {
            Some(address) if read.is_ok() => {
                let catches_sigterm = self.catches_sigterm;
                Ok(Running { child, output, catches_sigterm, address })
            }
            _ => {
                let _ = child.kill();
                let mut reason = String::new();
                if let Some(mut errors) = child.stderr.take() {
                    let _ = errors.read_to_string(&mut reason);
                }
                let _ = child.wait();
                Err(format!("it says {line:?} and {:?} instead of where it listens", reason.trim_end()))
            }
        }
    }

    /// `--mode echo` sends back everything in order, and closes when the peer has sent all.
    ///
    /// # Errors
    /// What is wrong.
    pub fn echoes(&self) -> Verdict {
        let running = self.start(&["--mode", "echo"])?;
        exchange(running.address)?;
        running.ends()
    }

    /// `--mode sink` takes everything, answers nothing, and closes when the peer has sent all.
    ///
    /// # Errors
    /// What is wrong.
    pub fn sinks(&self) -> Verdict {
        let running = self.start(&["--mode", "sink"])?;
        swallow(running.address)?;
        running.ends()
    }

    /// `--mode proxy` passes on bytes and the end of each direction, and breaks off if nobody is behind it.
    ///
    /// # Errors
    /// What is wrong.
    pub fn proxies(&self, more: &[&str]) -> Verdict {
        let behind = echo_server();
        let to = behind.to_string();
        let options: Vec<&str> = ["--mode", "proxy", "--to", &to].iter().chain(more).copied().collect();
        let running = self.start(&options)?;
        exchange(running.address)?;
        running.ends()?;

        let nobody = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let to = nobody.map_err(text("find a free port"))?.to_string();
        let running = self.start(&["--mode", "proxy", "--to", &to])?;
        let mut client = connect(running.address)?;
        match client.read(&mut [0]) {
            Ok(0) => {}
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            other => return Err(format!("with nobody behind the proxy, a client reads {other:?}")),
        }
        running.ends()
    }

    /// A bad option is one line on the error stream and exit code 2.
    ///
    /// # Errors
    /// What is wrong.
    pub fn refuses_bad_options(&self) -> Verdict {
        for options in [&["--nonsense"][..], &["--listen", "nowhere"], &["--mode", "proxy"]] {
            let output =
                Command::new(&self.path).args(options).output().map_err(text("start the program"))?;
            let errors = String::from_utf8_lossy(&output.stderr);
            if output.status.code() != Some(2) || errors.lines().count() != 1 || !output.stdout.is_empty() {
                return Err(format!("{options:?} ends with {} and says {errors:?}", output.status));
            }
        }
        Ok(())
    }
}

impl Running {
    /// Ends it with SIGTERM: exit code 0, and nothing was said beside the one line.
    ///
    /// # Errors
    /// What is wrong.
    pub fn ends(mut self) -> Verdict {
        let pid = Pid::from_child(&self.child);
        kill_process(pid, Signal::TERM).map_err(|error| format!("send SIGTERM: {error}"))?;
        let status = self.child.wait().map_err(text("wait for its end"))?;
        let killed = status.signal() == Some(Signal::TERM.as_raw()) && !self.catches_sigterm;
        if status.code() != Some(0) && !killed {
            return Err(format!("after SIGTERM it ends with {status}"));
        }
        let (mut output, mut errors) = (String::new(), String::new());
        self.output.read_to_string(&mut output).map_err(text("read its output"))?;
        if let Some(mut stream) = self.child.stderr.take() {
            stream.read_to_string(&mut errors).map_err(text("read its errors"))?;
        }
        if output.is_empty() && errors.is_empty() {
            Ok(())
        } else {
            Err(format!("beside where it listens it says {output:?} and {errors:?}"))
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only if it has ended and was waited for, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Small and large messages on several connections of an echo, until their end.
///
/// # Errors
/// What is wrong.
pub fn exchange(address: SocketAddr) -> Verdict {
    let mut clients = Vec::new();
    for number in 0..8_u8 {
        let mut client = connect(address)?;
        for len in [1, 64, 5000] {
            let sent = bytes(number, len);
            client.write_all(&sent).map_err(text("send a message"))?;
            let mut received = vec![0; len];
            client.read_exact(&mut received).map_err(text("receive a message"))?;
            if received != sent {
                return Err(format!("a message of {len} bytes came back changed"));
            }
        }
        clients.push(client);
    }
    let mut client = clients.pop().expect("there are several");
    let sent = bytes(9, LARGE);
    let mut received = Vec::new();
    thread::scope(|scope| {
        let mut writer = client.try_clone().map_err(text("clone the socket"))?;
        let sender = scope.spawn(move || {
            writer.write_all(&sent)?;
            writer.shutdown(Shutdown::Write)?;
            Ok::<_, std::io::Error>(sent)
        });
        client.read_to_end(&mut received).map_err(text("receive a stream until its end"))?;
        let sent = sender.join().expect("the sender does not panic").map_err(text("send a stream"))?;
        if received == sent {
            Ok(())
        } else {
            Err(format!("of {} bytes, {} came back, or they are others", sent.len(), received.len()))
        }
    })?;
    // Those that stayed open until now end in order, too.
    for mut client in clients {
        client.shutdown(Shutdown::Write).map_err(text("half-close"))?;
        match client.read(&mut [0]) {
            Ok(0) => {}
            other => return Err(format!("after half-closing, a client reads {other:?} instead of the end")),
        }
    }
    Ok(())
}

/// A stream to a sink, until its end.
///
/// # Errors
/// What is wrong.
pub fn swallow(address: SocketAddr) -> Verdict {
    let mut client = connect(address)?;
    client.write_all(&bytes(1, LARGE)).map_err(text("send a stream"))?;
    client.shutdown(Shutdown::Write).map_err(text("half-close"))?;
    match client.read(&mut [0]) {
        Ok(0) => Ok(()),
        other => Err(format!("after half-closing, a client reads {other:?} instead of the end")),
    }
}

/// An echo in threads of this process, for as long as it runs.
fn echo_server() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("a bound socket has an address");
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            thread::spawn(move || {
                let mut buffer = vec![0; 64 << 10];
                while let Ok(count @ 1..) = (&stream).read(&mut buffer) {
                    if (&stream).write_all(&buffer[..count]).is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    let stream = TcpStream::connect(address).map_err(text("connect"))?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(text("set a timeout"))?;
    stream.set_write_timeout(Some(PATIENCE)).map_err(text("set a timeout"))?;
    Ok(stream)
}

/// Bytes whose order can be checked, other ones for each seed.
fn bytes(seed: u8, len: usize) -> Vec<u8> {
    let mut state = u32::from(seed) * 2 + 1;
    let next = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 24) as u8
    };
    std::iter::repeat_with(next).take(len).collect()
}

fn text(what: &'static str) -> impl Fn(std::io::Error) -> String {
    move |error| format!("{what}: {error}")
}
