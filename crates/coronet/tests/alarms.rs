//! A thousand signals per second, and an echo that changes no byte. On io_uring and on epoll.
//!
//! It has a `main` of its own: the kernel gives a signal of the process to the main thread, and here
//! that is the thread of the core.

mod support;

use std::io::{Read, Write};
use std::net::Shutdown;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Instant;

use coronet::Backend;
use coronet::Runtime;
use coronet::net::TcpStream;
use rustix::process::{Signal, getpid, kill_process};
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use support::{Pattern, hang, runtime_or_skip, std_pair};

/// Bytes of one round trip.
const MESSAGE: usize = 200_000;
/// Until so many signals were handled, and so many bytes went round.
const SIGNALS_MIN: u64 = 1_000;
const ROUNDS_MIN: u64 = 50;
const PERIOD: Timespec = Timespec { tv_sec: 0, tv_nsec: 1_000_000 };

fn main() {
    let seen = Arc::new(AtomicBool::new(false));
    signal_hook::flag::register(Signal::ALARM.as_raw(), seen.clone()).expect("a handler");
    for backend in [Backend::Uring, Backend::Epoll] {
        let Some(runtime) = runtime_or_skip(Runtime::builder().backend(backend)) else { continue };
        let name = runtime.backend().name;
        let (handled, rounds) = echo_under_alarms(&runtime, &seen);
        println!("{name}: {rounds} echoes of {MESSAGE} bytes, {handled} signals");
    }
}

/// Sends the process a signal each millisecond until told to stop; counts those that were handled.
fn raise_alarms(seen: &AtomicBool, handled: &AtomicU64, stop: &AtomicBool) {
    let timer = timerfd_create(TimerfdClockId::Monotonic, TimerfdFlags::CLOEXEC).expect("a timer");
    let each = Itimerspec { it_interval: PERIOD, it_value: PERIOD };
    timerfd_settime(&timer, TimerfdTimerFlags::empty(), &each).expect("a period");
    while !stop.load(Ordering::Relaxed) {
        rustix::io::retry_on_intr(|| rustix::io::read(&timer, &mut [0; 8])).expect("a tick");
        handled.fetch_add(u64::from(seen.swap(false, Ordering::Relaxed)), Ordering::Relaxed);
        kill_process(getpid(), Signal::ALARM).expect("our own process");
    }
}

/// Echoes until enough signals have come; how many signals, and how many round trips.
fn echo_under_alarms(runtime: &Runtime, seen: &AtomicBool) -> (u64, u64) {
    let (handled, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let (ours, mut peer) = std_pair();
    std::thread::scope(|scope| {
        scope.spawn(|| raise_alarms(seen, &handled, &stop));
        let client = scope.spawn(|| {
            let (pattern, start, mut rounds) = (Pattern::new(), Instant::now(), 0);
            let mut back = vec![0; MESSAGE];
            while handled.load(Ordering::Relaxed) < SIGNALS_MIN || rounds < ROUNDS_MIN {
                assert!(start.elapsed() < 2 * hang(), "{rounds} echoes, {handled:?} signals");
                let position = rounds * MESSAGE as u64;
                let mut writer = peer.try_clone().expect("a descriptor");
                std::thread::scope(|scope| {
                    scope.spawn(|| writer.write_all(pattern.at(position, MESSAGE)).expect("sent"));
                    peer.read_exact(&mut back).expect("echoed");
                });
                pattern.check(position, &back);
                rounds += 1;
            }
            peer.shutdown(Shutdown::Write).expect("connected");
            assert_eq!(peer.read(&mut back).expect("the end"), 0, "more came back than was sent");
            rounds
        });
        runtime.block_on(async {
            let stream = TcpStream::from(ours);
            loop {
                let bytes = stream.recv().await.expect("no error");
                if bytes.is_empty() {
                    break;
                }
                stream.write_all(bytes).await.0.expect("sent");
            }
        });
        let rounds = client.join().expect("every byte came back");
        stop.store(true, Ordering::Relaxed);
        (handled.load(Ordering::Relaxed), rounds)
    })
}
