//! What the tests on the real kernel share: a runtime that has to be at rest when the test
//! is over, sockets of the standard library as peers, and bytes that show where they belong.
//!
//! No test here waits by sleeping, and none draws random numbers: a [`Sequence`] has a seed.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::future::Future;
use std::io::{self, Write};
use std::net::{TcpListener as StdListener, TcpStream as StdStream};
use std::panic::Location;
use std::pin::pin;
use std::process::{Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use coronet::net::TcpStream;
use coronet::task::yield_now;
use coronet::{Builder, Metrics, Runtime, metrics};
use socket2::SockRef;

/// How many times slower than others this machine is, as `CORONET_TEST_SLOWNESS` says: for one that is
/// emulated. Limits grow with it, and what is done thousands of times is done less often.
pub(crate) fn slowness() -> u32 {
    let says = std::env::var("CORONET_TEST_SLOWNESS");
    says.ok().and_then(|times| times.parse().ok()).unwrap_or(1)
}

/// A test that takes this long hangs.
pub(crate) fn hang() -> Duration {
    Duration::from_secs(30) * slowness()
}

/// Held by the test that runs: descriptors are counted for the whole process.
static ALONE: Mutex<()> = Mutex::new(());

/// Keeps the other tests of this process away.
pub(crate) fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `test` on a runtime of its own. Afterwards nothing may be left: no operation, no
/// lease, no task, no timer, no descriptor.
#[track_caller]
pub(crate) fn world(test: impl Future<Output = ()>) {
    let _alone = alone();
    let before = open_descriptors();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    runtime.block_on(async {
        unless_it_hangs(test).await;
        settle().await;
    });
    assert_at_rest(&runtime.metrics());
    drop(runtime);
    assert_descriptors(before);
}

/// Waits for `test`. A second counts as one, however long the machine stood still meanwhile: one that stops all of us
/// for a minute makes nothing hang.
async fn unless_it_hangs(test: impl Future<Output = ()>) {
    let mut test = pin!(test);
    for _ in 0..hang().as_secs() {
        if coronet::time::timeout(Duration::from_secs(1), test.as_mut()).await.is_ok() {
            return;
        }
    }
    panic!("the test hangs");
}

/// A pool thread that has just woken the core may hold its unparker for some microseconds more.
#[track_caller]
pub(crate) fn assert_descriptors(count: usize) {
    let start = Instant::now();
    while open_descriptors() != count && start.elapsed() < Duration::from_secs(2) {
        std::thread::yield_now();
    }
    assert_eq!(open_descriptors(), count, "descriptors leaked: {:?}", descriptors());
}

/// A runtime, or `None` and a line that says why; a failure under `CORONET_REQUIRE=uring`.
#[track_caller]
pub(crate) fn runtime_or_skip(builder: Builder) -> Option<Runtime> {
    match builder.build() {
        Ok(runtime) => Some(runtime),
        Err(error) => {
            let required = std::env::var("CORONET_REQUIRE").is_ok_and(|backend| backend == "uring");
            assert!(!required, "io_uring is required: {error}");
            skip(&format!("needs io_uring: {error}"));
            None
        }
    }
}

/// Says that the test cannot be run here. Past the capture of the test harness, to be counted.
#[track_caller]
pub(crate) fn skip(reason: &str) {
    let thread = std::thread::current();
    let here = Location::caller().to_string();
    let name = thread.name().filter(|name| *name != "main").unwrap_or(&here);
    // In one piece: other threads speak, too.
    let _ = io::stderr().write_all(format!("SKIP {name}: {reason}\n").as_bytes());
}

/// False, with a line that says so, where streams receive into buffers of their own.
pub(crate) fn receives_are_pooled() -> bool {
    can(&["recv_multi", "buffer_groups"])
}

/// True if the driver of this thread has these capabilities, else a line that names those it lacks.
#[track_caller]
pub(crate) fn can(needed: &[&str]) -> bool {
    let mut lacking = Vec::new();
    for capability in coronet::ring::current().handle().capabilities().each() {
        if needed.contains(&capability.name) && !capability.there {
            lacking.push(capability.name);
        }
    }
    if !lacking.is_empty() {
        skip(&format!("needs {}", lacking.join(", ")));
    }
    lacking.is_empty()
}

/// Turns the driver until the kernel has given everything back.
pub(crate) async fn settle() {
    let start = Instant::now();
    // Tasks that were detached have their last steps to go.
    while (metrics().in_flight > 0 || metrics().tasks > 0) && start.elapsed() < Duration::from_secs(5) {
        yield_now().await;
    }
}

#[track_caller]
pub(crate) fn assert_at_rest(end: &Metrics) {
    assert_eq!(end.in_flight, 0, "{end:?}");
    assert_eq!(end.submitted, end.completed + end.orphaned, "{end:?}");
    assert_eq!(end.leased, 0, "{end:?}");
    assert_eq!(end.leaked, 0, "{end:?}");
    assert_eq!(end.cq_overflows, 0, "{end:?}");
    assert_eq!(end.tasks, 0, "{end:?}");
    assert_eq!(end.timers, 0, "{end:?}");
}

pub(crate) fn open_descriptors() -> usize {
    descriptors().len()
}

/// Each descriptor and what it is; without the one that lists them.
pub(crate) fn descriptors() -> Vec<String> {
    let entries = std::fs::read_dir("/proc/self/fd").expect("procfs");
    let named = entries.filter_map(|entry| {
        let path = entry.ok()?.path();
        let target = std::fs::read_link(&path).ok()?;
        Some(format!("{} {}", path.file_name()?.display(), target.display()))
    });
    named.filter(|line| !line.contains("/proc/")).collect()
}

/// A stream, and its peer in the standard library.
pub(crate) fn pair() -> (TcpStream, StdStream) {
    let (ours, peer) = std_pair();
    (TcpStream::from(ours), peer)
}

pub(crate) fn std_pair() -> (StdStream, StdStream) {
    let listener = StdListener::bind("127.0.0.1:0").expect("a free port");
    let peer = StdStream::connect(listener.local_addr().expect("bound")).expect("a listener");
    let (ours, _) = listener.accept().expect("a client");
    peer.set_read_timeout(Some(hang())).expect("a limit");
    peer.set_write_timeout(Some(hang())).expect("a limit");
    (ours, peer)
}

/// Ends a connection the hard way.
pub(crate) fn reset(peer: StdStream) {
    SockRef::from(&peer).set_linger(Some(Duration::ZERO)).expect("a socket");
    drop(peer);
}

/// Runs `f` on a thread where it may block, while the core goes on.
pub(crate) async fn beside<T: Send + 'static>(f: impl FnOnce() -> T + Send + 'static) -> T {
    match coronet::task::spawn_blocking(f).await {
        Ok(output) => output,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

/// Polls once.
pub(crate) fn poll_once<F: Future>(future: F) -> Poll<F::Output> {
    pin!(future).poll(&mut Context::from_waker(Waker::noop()))
}

/// The message of the panic of `f`.
#[track_caller]
pub(crate) fn panic_of(f: impl FnOnce()) -> String {
    let caught = std::panic::catch_unwind(std::panic::AssertUnwindSafe(f));
    text_of(&*caught.expect_err("it does not panic"))
}

pub(crate) fn text_of(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().cloned();
    text.or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string)).expect("a panic with a text")
}

/// The test `name` of this file in a process of its own, which sees the variable `role`.
pub(crate) fn child(name: &str, role: (&str, &str)) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("a test binary"));
    command.args(["--exact", name, "--nocapture", "--test-threads=1"]).env(role.0, role.1);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Numbers that look random and are the same in every run (SplitMix64).
pub(crate) struct Sequence(u64);

impl Sequence {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }

    /// Zero to 50 us; zero every eighth time.
    pub(crate) fn limit(&mut self) -> Duration {
        if self.below(8) == 0 { Duration::ZERO } else { Duration::from_micros(self.below(51)) }
    }

    /// Keeps a thread busy for up to `us_max`: a sleep would be longer than what it paces.
    pub(crate) fn spin(&mut self, us_max: u64) {
        let end = Instant::now() + Duration::from_micros(self.below(us_max));
        while Instant::now() < end {
            std::hint::spin_loop();
        }
    }
}

/// A stream of bytes in which a lost, doubled or moved piece shows.
pub(crate) struct Pattern(Vec<u8>);

/// Prime, so that no power-of-two mistake falls on the period.
const PERIOD: usize = 65_521;
const PIECE_MAX: usize = 1 << 20;

impl Pattern {
    pub(crate) fn new() -> Self {
        let mut sequence = Sequence::new(7);
        let once: Vec<u8> = (0..PERIOD).map(|_| sequence.below(256) as u8).collect();
        Self(once.iter().copied().cycle().take(PERIOD + PIECE_MAX).collect())
    }

    /// The bytes from `position` on.
    pub(crate) fn at(&self, position: u64, len: usize) -> &[u8] {
        let start = (position % PERIOD as u64) as usize;
        &self.0[start..][..len]
    }

    #[track_caller]
    pub(crate) fn check(&self, position: u64, bytes: &[u8]) {
        let mut position = position;
        for piece in bytes.chunks(PIECE_MAX) {
            assert!(self.at(position, piece.len()) == piece, "wrong bytes from position {position} on");
            position += piece.len() as u64;
        }
    }
}
