//! A proxy as a stranger runs it, and upstreams and clients around it.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, ErrorKind, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdout, Command, ExitStatus};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use socket2::{Domain, SockAddr, SockRef, Socket, Type};

use super::{End, HANG, Running, example};

/// A proxy that listens, with its metrics.
pub(crate) struct Proxy {
    child: Child,
    stdout: BufReader<ChildStdout>,
    pub(crate) line: String,
    pub(crate) address: SocketAddr,
    pub(crate) metrics: SocketAddr,
    /// Who took over from it.
    successor: Option<Pid>,
}

/// The word behind `before` in the line that a proxy prints at its start.
fn word<'a>(line: &'a str, before: &str) -> Option<&'a str> {
    line.split(", ").find_map(|part| part.trim().strip_prefix(before))
}

impl Proxy {
    pub(crate) fn start(to: &[SocketAddr], arguments: &[&str]) -> Self {
        let to: Vec<_> = to.iter().map(SocketAddr::to_string).collect();
        let mut command = example("proxy");
        command.args(["--listen", "127.0.0.1:0", "--metrics", "127.0.0.1:0", "--to", &to.join(",")]);
        command.args(arguments);
        Self::of(command)
    }

    pub(crate) fn of(mut command: Command) -> Self {
        Self::from(command.spawn().expect("it starts"))
    }

    pub(crate) fn from(mut child: Child) -> Self {
        let mut stdout = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        stdout.read_line(&mut line).expect("a line");
        if line.is_empty() {
            let mut said = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut said);
            panic!("it does not start: {said}");
        }
        let address = word(&line, "proxy on ").and_then(|address| address.parse().ok());
        let metrics = word(&line, "metrics on ").and_then(|address| address.parse().ok());
        let (Some(address), Some(metrics)) = (address, metrics) else { panic!("no addresses in {line:?}") };
        Self { child, stdout, line, address, metrics, successor: None }
    }

    pub(crate) fn connect(&self) -> TcpStream {
        connect(self.address)
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = self.successor.unwrap_or_else(|| Pid::from_child(&self.child));
        kill_process(pid, signal).expect("it runs");
    }

    /// Hands over, and waits for the line of the successor. Signals go to that one from now on.
    pub(crate) fn hand_over(&mut self) -> String {
        self.signal(Signal::USR2);
        let mut line = String::new();
        self.stdout.read_line(&mut line).expect("a line");
        let pid = word(&line, "pid ").and_then(|pid| Pid::from_raw(pid.parse().ok()?));
        self.successor = Some(pid.unwrap_or_else(|| panic!("no process in {line:?}")));
        line
    }

    /// The next line that it, or its successor, complains with.
    pub(crate) fn complaint(&mut self) -> String {
        let stderr = self.child.stderr.as_mut().expect("piped");
        let (mut line, mut byte) = (Vec::new(), [0]);
        // One by one: what comes behind the line is for others to read.
        while line.last() != Some(&b'\n') {
            stderr.read_exact(&mut byte).expect("a line");
            line.push(byte[0]);
        }
        String::from_utf8(line).expect("text")
    }

    /// Waits for the end of this process, whoever else writes to its output.
    pub(crate) fn status(&mut self) -> ExitStatus {
        let mut status = None;
        until("it ends", || {
            status = self.child.try_wait().expect("our child");
            status.is_some()
        });
        status.expect("it ended")
    }

    /// Waits for the end, and what was printed until then.
    pub(crate) fn end(mut self) -> End {
        let status = self.status();
        let (mut stdout, mut stderr) = (String::new(), String::new());
        self.stdout.read_to_string(&mut stdout).expect("text");
        self.child.stderr.take().expect("piped").read_to_string(&mut stderr).expect("text");
        End { status, stdout, stderr }
    }

    /// Asks it to end, and checks that it does without a word.
    pub(crate) fn ends_quietly(self) {
        self.signal(Signal::TERM);
        let end = self.end();
        assert_eq!((end.status.code(), &*end.stdout, &*end.stderr), (Some(0), "", ""));
    }

    /// The lines of metrics; each name with its labels, and its value.
    pub(crate) fn scrape(&self) -> HashMap<String, f64> {
        let page = ask(self.metrics, "GET /metrics HTTP/1.1\r\nHost: proxy\r\n\r\n");
        let (head, body) = page.split_once("\r\n\r\n").expect("a head and a body");
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        parse_metrics(body)
    }

    /// The sum of all values of `name` whose labels contain `label`.
    pub(crate) fn value(&self, name: &str, label: &str) -> f64 {
        let matches = |line: &str| line.split('{').next() == Some(name) && line.contains(label);
        self.scrape().iter().filter(|(line, _)| matches(line)).map(|(_, value)| value).sum()
    }

    pub(crate) fn errors(&self, kind: &str) -> f64 {
        self.value("proxy_errors_total", &format!("kind=\"{kind}\""))
    }

    /// Resident memory in bytes, without files.
    pub(crate) fn resident(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).expect("it runs");
        let kib = |name: &str| -> u64 {
            let line = status.lines().find_map(|line| line.strip_prefix(name)).expect("in the status");
            line.trim_end_matches("kB").trim().parse().expect("a number")
        };
        (kib("RssAnon:") + kib("RssShmem:")) * 1024
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // It has ended already, unless the test failed.
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(successor) = self.successor {
            let _ = kill_process(successor, Signal::KILL);
        }
    }
}

/// Checks that a page is what a scraper reads, and returns its values.
pub(crate) fn parse_metrics(page: &str) -> HashMap<String, f64> {
    assert!(page.ends_with("# EOF\n"), "{page}");
    let mut families = Vec::new();
    let mut values = HashMap::new();
    for line in page.lines() {
        if let Some(family) = line.strip_prefix("# TYPE ") {
            families.push(family.split(' ').next().expect("a name").to_owned());
        }
        if line.starts_with('#') {
            continue;
        }
        let (name, value) = line.rsplit_once(' ').expect("a name and a value");
        let family = families.last().expect("a type comes first");
        assert!(name.starts_with(family.as_str()), "{name} is not of {family}");
        let before = values.insert(name.to_owned(), value.parse().expect("a number"));
        assert!(before.is_none(), "{name} twice");
    }
    values
}

/// Sends a request, and reads the answer to its end.
pub(crate) fn ask(address: SocketAddr, request: &str) -> String {
    let mut stream = connect(address);
    stream.write_all(request.as_bytes()).expect("it is taken");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("text");
    answer
}

/// A connection that does not wait for ever.
pub(crate) fn connect(address: SocketAddr) -> TcpStream {
    limited(TcpStream::connect(address).expect("it listens"))
}

pub(crate) fn limited(stream: TcpStream) -> TcpStream {
    stream.set_read_timeout(Some(HANG)).expect("a limit");
    stream.set_write_timeout(Some(HANG)).expect("a limit");
    stream
}

/// Asks again and again.
#[track_caller]
pub(crate) fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let running = Running::start();
    while !is_so() {
        assert!(running.elapsed() < HANG, "not within {HANG:?}: {what}");
        std::thread::yield_now();
    }
}

/// A listener whose connections the test takes itself.
pub(crate) fn upstream() -> (TcpListener, SocketAddr) {
    let (refusing, address) = Refusing::new();
    (refusing.listen(), address)
}

/// A port that refuses connections and that nobody else gets, until it is told to listen.
pub(crate) struct Refusing(Socket);

impl Refusing {
    pub(crate) fn new() -> (Self, SocketAddr) {
        Self::at("127.0.0.1:0".parse().expect("an address"))
    }

    pub(crate) fn at(address: SocketAddr) -> (Self, SocketAddr) {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        socket.set_reuse_address(true).expect("an option");
        socket.bind(&SockAddr::from(address)).expect("a port");
        let address = socket.local_addr().expect("an address").as_socket().expect("of the internet");
        (Self(socket), address)
    }

    pub(crate) fn listen(self) -> TcpListener {
        // Of the 128 of the standard library, the kernel resets some when hundreds come at once.
        self.0.listen(4096).expect("it listens");
        self.0.into()
    }
}

pub(crate) fn accept(listener: &TcpListener) -> TcpStream {
    limited(listener.accept().expect("a connection").0)
}

/// Ends a connection with a reset.
pub(crate) fn reset(stream: TcpStream) {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO)).expect("an option");
    drop(stream);
}

#[track_caller]
pub(crate) fn assert_reset(mut stream: &TcpStream) {
    let error = stream.read_to_end(&mut Vec::new()).expect_err("a reset, not an end");
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "{error}");
}

/// Checks that nothing comes any more but the end. By `read_to_end`, which goes on after a pause of the
/// process; a plain `read` with a limit ends with `EINTR` then.
#[track_caller]
pub(crate) fn assert_ends(mut stream: &TcpStream) {
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("an end");
    assert_eq!(rest, b"");
}

/// Checks that the other side closes, in whatever way.
#[track_caller]
pub(crate) fn assert_closed(mut stream: &TcpStream) {
    let mut rest = Vec::new();
    let result = stream.read_to_end(&mut rest);
    let is_over =
        |error: &std::io::Error| !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut);
    assert!(result.as_ref().err().is_none_or(is_over) && rest.is_empty(), "{result:?}, {rest:?}");
}

/// Sends `question` and expects it back.
pub(crate) fn echo(stream: &mut TcpStream, question: &[u8]) -> std::io::Result<()> {
    stream.write_all(question)?;
    let mut answer = vec![0; question.len()];
    stream.read_exact(&mut answer)?;
    assert_eq!(answer, question);
    Ok(())
}

/// An upstream that greets with its name, a byte, and then echoes; until it is killed.
pub(crate) struct Echoing {
    listener: TcpListener,
    connections: Arc<Mutex<Vec<TcpStream>>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Echoing {
    pub(crate) fn start(listener: TcpListener, greeting: Option<u8>) -> Self {
        let connections = Arc::new(Mutex::new(Vec::new()));
        let (ours, theirs) = (listener.try_clone().expect("a descriptor"), connections.clone());
        let thread = std::thread::spawn(move || {
            while let Ok((mut stream, _)) = listener.accept() {
                theirs.lock().expect("no panic").push(stream.try_clone().expect("a descriptor"));
                std::thread::spawn(move || {
                    if greeting.is_some_and(|greeting| stream.write_all(&[greeting]).is_err()) {
                        return;
                    }
                    let mut bytes = [0; 65536];
                    while let Ok(count @ 1..) = stream.read(&mut bytes) {
                        if stream.write_all(&bytes[..count]).is_err() {
                            return;
                        }
                    }
                    let _ = stream.shutdown(Shutdown::Write);
                });
            }
        });
        Self { listener: ours, connections, thread: Some(thread) }
    }

    /// Stops listening and resets what is open, as the end of a process does.
    pub(crate) fn kill(mut self) -> SocketAddr {
        let address = self.listener.local_addr().expect("an address");
        self.stop();
        address
    }

    fn stop(&mut self) {
        // What waits in accept(2) only hears of this.
        let _ = SockRef::from(&self.listener).shutdown(Shutdown::Both);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
        for stream in self.connections.lock().expect("no panic").drain(..) {
            let _ = SockRef::from(&stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

impl Drop for Echoing {
    fn drop(&mut self) {
        self.stop();
    }
}

/// Bytes that show where they belong: the same megabyte and a bit, again and again.
pub(crate) struct Pattern(Vec<u8>);

impl Pattern {
    const LEN: usize = (1 << 20) + 7;

    pub(crate) fn new() -> Self {
        let mut word = 0x9e37_79b9_7f4a_7c15_u64;
        let bytes = std::iter::repeat_with(|| {
            word ^= word << 13;
            word ^= word >> 7;
            word ^= word << 17;
            word as u8
        });
        Self(bytes.take(Self::LEN).collect())
    }

    /// Up to `len` bytes of the stream from `position` on.
    pub(crate) fn at(&self, position: usize, len: usize) -> &[u8] {
        let start = position % Self::LEN;
        &self.0[start..(start + len).min(Self::LEN)]
    }

    #[track_caller]
    pub(crate) fn check(&self, mut position: usize, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let expected = self.at(position, bytes.len());
            assert!(&bytes[..expected.len()] == expected, "wrong bytes behind position {position}");
            position += expected.len();
            bytes = &bytes[expected.len()..];
        }
    }
}
