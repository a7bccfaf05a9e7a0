//! Hosts, the network between them, their clocks and disks, as a user's test sees and steers them.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use coronet_exec::tasks::spawn_blocking;
use coronet_exec::time::{Instant, sleep, timeout};
use coronet_io::net::{TcpListener, TcpStream, lookup_host};
use coronet_io::{context, op};
use coronet_ring::SharedFd;
use coronet_sim::{Faults, Settings, Sim, run};

const SEEDS: u64 = 60;

/// A server that answers every connection with its first bytes, once.
async fn answer() {
    let listener = TcpListener::bind("0.0.0.0:80").await.expect("a free port");
    loop {
        let (stream, _) = listener.accept().await.expect("the listener lives");
        coronet_exec::spawn(async move {
            if let Ok(bytes) = stream.recv().await {
                let _ = stream.write_all(bytes).await;
            }
            let _ = stream.close().await;
        });
    }
}

async fn ask(server: &str) -> std::io::Result<()> {
    let stream = TcpStream::connect(server).await?;
    stream.write_all("x").await.0?;
    let bytes = stream.recv().await?;
    if &*bytes == b"x" { Ok(()) } else { Err(std::io::ErrorKind::UnexpectedEof.into()) }
}

/// Asks until the server is there.
async fn ask_until_answered(server: &str) {
    while ask(server).await.is_err() {
        sleep(Duration::from_millis(1)).await;
    }
}

#[test]
fn hosts_find_each_other_by_name_and_see_each_others_addresses() {
    for seed in 0..SEEDS {
        run(seed, || async {
            coronet_sim::host("server", answer);
            ask_until_answered("server:80").await;
            let found = lookup_host("server:80").await.expect("a host of that name");
            assert_eq!(found, [(coronet_sim::address("server"), 80).into()]);
            let stream = TcpStream::connect("server:80").await.expect("it listens");
            assert_eq!(stream.local_addr().expect("connected").ip(), coronet_sim::address("main"));
            assert_eq!(stream.peer_addr().expect("connected").ip(), coronet_sim::address("server"));
            let error = lookup_host("nobody:80").await.expect_err("no such host");
            assert_eq!(error.kind(), std::io::ErrorKind::NotFound);
        });
    }
}

#[test]
fn an_hour_passes_in_no_time_and_both_kinds_of_timers_agree() {
    for seed in 0..SEEDS {
        run(seed, || async {
            let start = Instant::now();
            sleep(Duration::from_secs(3600)).await;
            assert_eq!(start.elapsed(), Duration::from_secs(3600), "to the nanosecond");
            let timer = op::Timeout::new(Duration::from_secs(10));
            context::current().handle().submit(timer).await.expect("it runs out");
            let late = start.elapsed() - Duration::from_secs(3610);
            assert!(late < Duration::from_secs(1), "late by {late:?}");
        });
    }
}

#[test]
fn a_partition_holds_bytes_up_and_loses_none_when_it_heals() {
    for seed in 0..SEEDS {
        run(seed, || async {
            coronet_sim::host("server", answer);
            ask_until_answered("server:80").await;
            let stream = TcpStream::connect("server:80").await.expect("it listens");
            coronet_sim::partition("main", "server");
            stream.write_all("x").await.0.expect("taken by this side");
            let early = timeout(Duration::from_secs(30), stream.recv()).await;
            assert!(early.is_err(), "nothing passes");
            coronet_sim::heal("main", "server");
            assert_eq!(&*stream.recv().await.expect("it passes again"), b"x");
        });
    }
}

#[test]
fn a_connection_through_a_partition_is_given_up_after_a_while() {
    for seed in 0..SEEDS {
        run(seed, || async {
            coronet_sim::host("server", answer);
            ask_until_answered("server:80").await;
            coronet_sim::partition_one_way("main", "server");
            let start = Instant::now();
            let error = TcpStream::connect("server:80").await.expect_err("no way");
            assert_eq!(error.kind(), std::io::ErrorKind::TimedOut);
            assert!(start.elapsed() > Duration::from_secs(60), "as long as Linux tries");
        });
    }
}

#[test]
fn a_host_that_crashes_says_nothing_and_after_its_restart_it_resets() {
    for seed in 0..SEEDS {
        run(seed, || async {
            coronet_sim::host("server", answer);
            ask_until_answered("server:80").await;
            let stream = TcpStream::connect("server:80").await.expect("it listens");
            sleep(Duration::from_secs(1)).await;
            coronet_sim::crash("server");
            let end = timeout(Duration::from_secs(100), stream.recv()).await;
            assert!(end.is_err(), "a dead host sends no end");
            coronet_sim::restart("server");
            ask_until_answered("server:80").await;
            stream.write_all("x").await.0.expect("taken by this side");
            let error = stream.recv().await.expect_err("it knows nothing of this connection");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        });
    }
}

#[test]
fn connections_between_two_hosts_can_be_reset() {
    for seed in 0..SEEDS {
        run(seed, || async {
            coronet_sim::host("server", answer);
            ask_until_answered("server:80").await;
            let stream = TcpStream::connect("server:80").await.expect("it listens");
            coronet_sim::reset_between("main", "server");
            let error = stream.recv().await.expect_err("it was reset");
            assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
        });
    }
}

/// The bytes of a file of this host.
async fn read_all(name: &str) -> Vec<u8> {
    let file = SharedFd::new(coronet_sim::disk::open(name).expect("a file"));
    let mut bytes = Vec::with_capacity(64);
    loop {
        let at = bytes.len() as u64;
        let read = op::ReadAt::new(file.clone(), bytes, at);
        let (count, back) = context::current().handle().submit(read).await;
        bytes = back;
        if count.expect("a disk without faults") == 0 {
            return bytes;
        }
    }
}

async fn write_all(file: &SharedFd, bytes: &[u8], at: usize) {
    let mut sent = 0;
    while sent < bytes.len() {
        let write = op::WriteAt::new(file.clone(), bytes[sent..].to_vec(), (at + sent) as u64);
        sent += context::current().handle().submit(write).await.0.expect("a disk without faults");
    }
}

#[test]
fn what_was_synced_is_there_after_a_crash_and_the_rest_may_be() {
    let mut left = BTreeSet::new();
    for seed in 0..SEEDS {
        let (bytes, _) = run(seed, || async {
            let found = Rc::new(RefCell::new(None));
            let boots = Rc::new(Cell::new(0));
            let (theirs, count) = (found.clone(), boots.clone());
            coronet_sim::host("server", move || {
                let (found, boots) = (theirs.clone(), count.clone());
                async move {
                    boots.set(boots.get() + 1);
                    if boots.get() == 2 {
                        *found.borrow_mut() = Some(read_all("log").await);
                        return;
                    }
                    let file = SharedFd::new(coronet_sim::disk::open("log").expect("a file"));
                    write_all(&file, b"synced", 0).await;
                    coronet_sim::disk::sync(&file).expect("a disk without faults");
                    write_all(&file, b" lost", 6).await;
                    coronet_sim::crash("server");
                    coronet_sim::restart("server");
                    std::future::pending::<()>().await;
                }
            });
            while found.borrow().is_none() {
                sleep(Duration::from_millis(10)).await;
            }
            found.take().expect("just seen")
        });
        assert!(bytes.starts_with(b"synced"), "seed {seed}");
        left.insert(bytes);
    }
    assert!(left.contains(&b"synced"[..]) && left.contains(&b"synced lost"[..]), "{left:?}");
}

#[test]
fn faults_that_a_user_notices_come_only_when_asked_for() {
    let broken = |faults: Faults| {
        let mut settings = Settings::default();
        settings.faults = faults;
        let broken = |seed: &u64| {
            let sim = Sim::builder(*seed).settings(settings.clone()).build();
            sim.block_on(async {
                coronet_sim::host("server", answer);
                sleep(Duration::from_secs(1)).await;
                ask("server:80").await.is_err()
            })
        };
        (0..SEEDS).filter(broken).count()
    };
    assert_eq!(broken(Faults::default()), 0);
    let mut resets = Faults::default();
    resets.resets = 256;
    assert!(broken(resets) > 0);
    let mut aborts = Faults::default();
    aborts.aborted_connections = 256;
    assert!(broken(aborts) > 0);
}

#[test]
fn a_blocking_call_runs_at_once_and_is_part_of_the_run() {
    let hash = || run(5, || async { spawn_blocking(|| 6 * 7).await.expect("no panic") });
    assert_eq!(hash(), hash());
    assert_eq!(hash().0, 42);
}

#[test]
#[should_panic(expected = "every task waits")]
fn a_deadlock_is_a_panic_that_says_so() {
    run(0, std::future::pending::<()>);
}

#[test]
#[should_panic(expected = "the server fell over")]
fn a_panic_of_another_host_ends_the_simulation() {
    run(0, || async {
        coronet_sim::host("server", || async { panic!("the server fell over") });
        std::future::pending::<()>().await;
    });
}

#[test]
#[should_panic(expected = "not over after")]
fn a_program_that_never_ends_is_a_panic_that_says_so() {
    run(0, || async {
        let goes_on = Cell::new(true);
        while goes_on.get() {
            sleep(Duration::from_secs(3600)).await;
        }
    });
}

#[test]
#[should_panic(expected = "seed 0 took two ways")]
fn a_test_that_is_not_a_function_of_its_seed_is_told() {
    let runs = Cell::new(0_u64);
    coronet_sim::test("hosts::name", 1, || {
        runs.set(runs.get() + 1);
        let pause = Duration::from_secs(runs.get());
        async move {
            sleep(pause).await;
            let _ = TcpStream::connect("127.0.0.1:1").await;
        }
    });
}

async fn ask_nobody() {
    for _ in 0..10 {
        assert!(ask("127.0.0.1:80").await.is_err());
    }
}

#[test]
fn a_failing_tape_can_be_made_smaller() {
    // Fails if the send is short: the shrunk tape has little else in it.
    let fails = |entries: &[u32]| {
        let sim = Sim::builder(0).tape(coronet_sim::Tape::from_entries(entries.to_vec())).build();
        let driver = sim.driver("main").expect("a driver");
        let (_reader, writer) = sim.pipe("main").expect("a pipe");
        let mut write =
            std::pin::pin!(driver.handle().submit(op::WriteAt::new(SharedFd::new(writer), vec![0; 8], 0)));
        let mut cx = std::task::Context::from_waker(std::task::Waker::noop());
        loop {
            if let std::task::Poll::Ready((count, _)) = write.as_mut().poll(&mut cx) {
                break (count.expect("room") < 8, sim.report().tape);
            }
            driver.turn(None).expect("it goes on");
        }
    };
    let tapes = (0..100).map(|seed| {
        let sim = Sim::new(seed);
        // What a run of this seed draws is a tape of choices as good as any.
        sim.block_on(ask_nobody());
        sim.report().tape
    });
    let tape = { tapes }.find(|tape| fails(tape).0).expect("a seed with a short count");
    let small = coronet_sim::shrink(tape, |entries| fails(entries).0);
    assert!(fails(&small).0);
    assert!(small.iter().filter(|entry| **entry != 0).count() <= 4, "{small:?}");
}
