//! A runtime in a foreign event loop, on both backends: whatever comes ends the host's sleep, and nothing
//! else does. Hosts here sleep in `poll(2)`, or in an epoll that reports edges only.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::rc::Rc;
use std::sync::mpsc as std_mpsc;
use std::thread;
use std::time::{Duration, Instant};

use coronet::net::TcpStream;
use coronet::sync::{cross, oneshot};
use coronet::{Backend, Embedded, Runtime, Turn};
use rustix::event::{PollFd, PollFlags, Timespec, epoll};
use rustix::thread::{Pid, gettid};
use support::{assert_at_rest, hang, panic_of, std_pair};

/// Who sleeps so long has missed something.
const LOST: Duration = Duration::from_secs(20);

/// How the host waits.
#[derive(Clone, Copy, Debug)]
enum Host {
    Poll,
    /// An epoll that is told of edges, as tokio's is.
    Edges,
}

struct World {
    core: Embedded,
    edges: Option<rustix::fd::OwnedFd>,
    turns: Cell<u64>,
}

/// What a wait of the host ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    Readable,
    TimeOut,
}

impl World {
    /// `None`, and a line that says why, where there is no ring.
    fn new(backend: Backend, host: Host) -> Option<Self> {
        let builder = Runtime::builder().backend(backend);
        // Says why not, and fails where it has to be there.
        drop(support::runtime_or_skip(builder.clone())?);
        let core = Embedded::new(builder).expect("a core to embed");
        let edges = match host {
            Host::Poll => None,
            Host::Edges => {
                let outer = epoll::create(epoll::CreateFlags::CLOEXEC).expect("an epoll");
                let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
                epoll::add(&outer, &core, epoll::EventData::new_u64(1), flags).expect("added");
                Some(outer)
            }
        };
        Some(Self { core, edges, turns: Cell::new(0) })
    }

    fn turn(&self) -> Turn {
        self.turns.set(self.turns.get() + 1);
        self.core.turn()
    }

    fn wait(&self, limit: Duration) -> Waited {
        let end = Instant::now() + limit;
        loop {
            let left = end.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("not too long");
            let count = match &self.edges {
                None => rustix::event::poll(&mut [PollFd::new(&self.core, PollFlags::IN)], Some(&timeout)),
                Some(outer) => {
                    let mut events = Vec::with_capacity(4);
                    epoll::wait(outer, rustix::buffer::spare_capacity(&mut events), Some(&timeout))
                }
            };
            match count {
                // Task work of the ring interrupts a sleep: poll says so only where it is not restarted.
                Err(rustix::io::Errno::INTR) => return Waited::Readable,
                Ok(0) if left.is_zero() => return Waited::TimeOut,
                Ok(0) => {}
                other => {
                    assert_eq!(other, Ok(1));
                    return Waited::Readable;
                }
            }
        }
    }

    /// Turns until nothing can run; the next timer.
    fn until_idle(&self) -> Option<Instant> {
        let start = Instant::now();
        loop {
            if let Turn::Idle { until } = self.turn() {
                return until;
            }
            assert!(start.elapsed() < hang(), "it is never idle");
        }
    }

    /// What a host does for ever; here until `is_over`, which is asked before each wait.
    #[track_caller]
    fn run_until(&self, is_over: impl Fn() -> bool) {
        loop {
            let turn = self.turn();
            if is_over() {
                return;
            }
            let limit = turn.timeout().unwrap_or(hang());
            // No test has a timer that far away that would have to fire. Twice: who was paused for that long
            // finds his time over before the others went on.
            let is_lost = limit >= LOST && (0..2).all(|_| self.wait(LOST) == Waited::TimeOut);
            if limit < LOST {
                let _ = self.wait(limit);
            }
            assert!(!is_lost, "it slept through what it waits for");
        }
    }

    #[track_caller]
    fn finish<T: 'static>(&self, future: impl Future<Output = T> + 'static) -> T {
        let task = self.core.spawn(future);
        self.run_until(|| task.is_finished());
        self.core.block_on(task).expect("no panic")
    }
}

/// `test` on each backend and for each kind of host; what a world leaves behind is looked at.
#[track_caller]
fn worlds(test: impl Fn(&World)) {
    let _alone = support::alone();
    for backend in [Backend::Uring, Backend::Epoll] {
        for host in [Host::Poll, Host::Edges] {
            let Some(world) = World::new(backend, host) else { continue };
            println!("{}, {host:?}", world.core.backend());
            test(&world);
            let start = Instant::now();
            while world.core.metrics().in_flight > 0 && start.elapsed() < hang() {
                let _ = world.turn();
            }
            assert_at_rest(&world.core.metrics());
        }
    }
}

fn is_asleep(thread: Pid) -> bool {
    let path = format!("/proc/self/task/{}/stat", thread.as_raw_nonzero());
    let stat = std::fs::read_to_string(path).expect("procfs");
    stat.rsplit(") ").next().is_some_and(|rest| rest.starts_with('S'))
}

/// Runs `work` on another thread once this one sleeps in the kernel.
fn when_asleep(work: impl FnOnce() + Send + 'static) -> thread::JoinHandle<()> {
    let sleeper = gettid();
    let (start, started) = std_mpsc::channel();
    let helper = thread::spawn(move || {
        start.send(()).expect("it waits");
        while !is_asleep(sleeper) {
            thread::yield_now();
        }
        work();
    });
    started.recv().expect("started");
    helper
}

#[test]
fn a_wake_from_another_thread_ends_the_hosts_sleep() {
    worlds(|world| {
        for round in 0..20 {
            let (sender, receiver) = cross::oneshot::channel();
            let helper = when_asleep(move || sender.send(round).expect("somebody waits"));
            assert_eq!(world.finish(receiver), Ok(round));
            helper.join().expect("it sent");
        }
    });
}

#[test]
fn a_closure_from_another_thread_ends_the_hosts_sleep_and_runs_here() {
    worlds(|world| {
        let here = gettid();
        for _ in 0..20 {
            let (handle, (sender, receiver)) = (world.core.handle(), cross::oneshot::channel());
            let helper = when_asleep(move || {
                let thread = handle.spawn(|| async { gettid() }).wait();
                sender.send(thread.expect("no panic")).expect("somebody waits");
            });
            assert_eq!(world.finish(receiver), Ok(here));
            helper.join().expect("it ran");
        }
    });
}

/// The trap: a core that was asked whether it may sleep and one that sleeps are not the same; what comes
/// in between has to be seen by the one or to ring for the other.
#[test]
fn of_fifty_thousand_messages_that_race_with_the_hosts_sleep_none_is_slept_through() {
    const MESSAGES: u32 = 12_500;
    worlds(|world| {
        let (ping, mut pings) = cross::mpsc::channel::<u32>(1);
        let (pong, pongs) = std_mpsc::channel();
        let peer = thread::spawn(move || {
            for number in 0..MESSAGES {
                // From the answer to the next question the host goes idle, or is about to.
                for _ in 0..number % 512 {
                    std::hint::spin_loop();
                }
                ping.blocking_send(number).expect("somebody receives");
                assert_eq!(pongs.recv_timeout(hang()).expect("an answer"), number);
            }
        });
        world.finish(async move {
            while let Some(number) = pings.recv().await {
                pong.send(number).expect("somebody asks");
            }
        });
        peer.join().expect("every message was answered");
    });
}

#[test]
fn a_completion_ends_the_hosts_sleep() {
    worlds(|world| {
        for _ in 0..20 {
            let (ours, mut theirs) = std_pair();
            let helper = when_asleep(move || theirs.write_all(b"now").expect("sent"));
            let bytes = world.finish(async move {
                let stream = TcpStream::from(ours);
                stream.recv().await.expect("bytes").to_vec()
            });
            assert_eq!(bytes, b"now");
            helper.join().expect("it wrote");
        }
    });
}

/// The trap: a turn takes a batch and leaves the rest, of which no edge tells again.
#[test]
fn two_hundred_connections_that_are_ready_at_once_are_all_served() {
    const CONNECTIONS: usize = 200;
    worlds(|world| {
        let (served, mut peers) = (Rc::new(Cell::new(0)), Vec::new());
        for _ in 0..CONNECTIONS {
            let (ours, peer) = std_pair();
            peers.push(peer);
            let served = served.clone();
            drop(world.core.spawn(async move {
                let stream = TcpStream::from(ours);
                loop {
                    let bytes = stream.recv().await.expect("bytes");
                    if bytes.is_empty() {
                        break served.set(served.get() + 1);
                    }
                    stream.write_all(bytes).await.0.expect("sent");
                }
            }));
        }
        world.until_idle();
        let clients = thread::spawn(move || {
            for round in 0..5_u8 {
                for peer in &mut peers {
                    peer.write_all(&[round; 100]).expect("sent");
                }
                for peer in &mut peers {
                    let mut back = [0; 100];
                    peer.read_exact(&mut back).expect("echoed");
                    assert_eq!(back, [round; 100]);
                }
            }
        });
        world.run_until(|| served.get() == CONNECTIONS);
        clients.join().expect("all was echoed");
    });
}

#[test]
fn a_timer_is_the_time_limit_of_the_wait_and_fires_after_it() {
    worlds(|world| {
        assert_eq!(world.until_idle(), None);
        let start = Instant::now();
        let delay = Duration::from_millis(30);
        let task = world.core.spawn(coronet::time::sleep(delay));
        // A timer that is far away is looked at once or twice on its way; the unpark of the spawn may ring
        // once more behind its back. Neither makes a loop that spins.
        let mut waits = 0;
        while start.elapsed() < delay {
            let Some(until) = world.until_idle() else {
                assert!(start.elapsed() >= delay, "the timer is forgotten");
                break;
            };
            // Up to a step of the wheel later, 131 us.
            assert!(until <= Instant::now() + delay + Duration::from_millis(1), "{:?}", until - start);
            assert!(!task.is_finished() || start.elapsed() >= delay, "before its time");
            let _ = world.wait(until.saturating_duration_since(Instant::now()));
            waits += 1;
        }
        assert!(waits < 20, "{waits} waits for one timer");
        world.run_until(|| task.is_finished());
        assert!(start.elapsed() >= delay);
        assert_eq!(world.until_idle(), None);
    });
}

/// The trap: the host's own code runs on the core's thread and outside of the core.
#[test]
fn what_the_host_does_between_two_turns_is_announced() {
    worlds(|world| {
        assert_eq!(world.until_idle(), None);
        assert_eq!(world.wait(Duration::ZERO), Waited::TimeOut);
        let (sender, receiver) = oneshot::channel();
        let waits = world.core.spawn(receiver);
        assert_eq!(world.wait(Duration::ZERO), Waited::Readable, "a task was spawned");
        assert_eq!(world.until_idle(), None);
        assert_eq!(world.wait(Duration::ZERO), Waited::TimeOut);
        sender.send(7).expect("somebody waits");
        assert_eq!(world.wait(Duration::ZERO), Waited::Readable, "a task was woken");
        world.run_until(|| waits.is_finished());

        let endless = world.core.spawn(std::future::pending::<()>());
        assert_eq!(world.until_idle(), None);
        assert_eq!(world.wait(Duration::ZERO), Waited::TimeOut);
        endless.abort();
        assert_eq!(world.wait(Duration::ZERO), Waited::Readable, "a task was aborted");
        world.run_until(|| endless.is_finished());
        assert!(world.core.block_on(endless).expect_err("aborted").is_cancelled());
    });
}

/// The trap: a descriptor that stays readable, or a deadline that stays in the past, makes the host spin.
#[test]
fn a_host_with_nothing_to_do_sleeps() {
    worlds(|world| {
        let (ours, theirs) = std_pair();
        let (stop, stopped) = cross::oneshot::channel::<()>();
        let task = world.core.spawn(async move {
            let stream = TcpStream::from(ours);
            let _ = coronet::time::timeout(hang() * 2, stream.recv()).await.expect("in time");
            stopped.await.expect("asked to stop");
        });
        assert!(world.until_idle().is_some(), "the timeout");
        let before = world.turns.get();
        // 300 ms are long for a loop that spins: it makes tens of thousands of turns.
        let end = Instant::now() + Duration::from_millis(300);
        while Instant::now() < end {
            let timeout = world.turn().timeout().unwrap_or(hang());
            let left = end.saturating_duration_since(Instant::now());
            let _ = world.wait(timeout.min(left));
        }
        let turns = world.turns.get() - before;
        assert!(turns <= 10, "{turns} turns with nothing to do");
        drop(theirs);
        stop.send(()).expect("somebody waits");
        world.run_until(|| task.is_finished());
    });
}

#[test]
fn a_turn_inside_of_a_task_panics_and_says_so() {
    worlds(|world| {
        let said = panic_of(|| {
            world.core.block_on(async {
                let _ = world.core.turn();
            });
        });
        assert!(said.contains("an executor is turned inside of another one"), "{said}");
    });
}

#[test]
fn an_embedded_core_leaves_no_descriptor_behind() {
    let _alone = support::alone();
    for backend in [Backend::Uring, Backend::Epoll] {
        let before = support::open_descriptors();
        let Some(world) = World::new(backend, Host::Edges) else { continue };
        world.finish(async { coronet::task::yield_now().await });
        drop(world);
        support::assert_descriptors(before);
    }
}
