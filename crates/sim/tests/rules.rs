//! What Linux may do, the simulated kernel does under some seed; what Linux never does, under none.
//!
//! Each test is one sentence about the kernel. It gathers outcomes over many seeds, so a rule that is
//! lost shows as an outcome that is missing, or as one that should not be there.

mod support;

use std::collections::BTreeSet;
use std::future::Future;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coronet_io::op;
use coronet_ring::{Driver, GroupConfig, Nop, SharedFd};
use coronet_sim::{Faults, Settings, Sim};
use support::{connect_op, listener, number, pair, pass, poll_once, socket, wait};

const SEEDS: u64 = 300;

/// The outcomes of `script` under many seeds.
fn outcomes<T: Ord>(mut script: impl FnMut(&Driver) -> T) -> BTreeSet<T> {
    let run = |seed| {
        let sim = Sim::new(seed);
        let driver = sim.driver("main").expect("a driver");
        script(&driver)
    };
    (0..SEEDS).map(run).collect()
}

fn send(driver: &Driver, socket: &SharedFd, bytes: &'static [u8], flags: i32) -> i32 {
    number(wait(driver, driver.handle().submit(op::Send::new(socket.clone(), bytes, flags))).result)
}

fn recv(driver: &Driver, socket: &SharedFd, len: usize, flags: i32) -> (i32, Vec<u8>) {
    let recv = op::Recv::new(socket.clone(), Vec::with_capacity(len), flags);
    let (result, bytes) = wait(driver, driver.handle().submit(recv));
    (number(result), bytes)
}

#[test]
fn a_send_takes_any_part_and_with_waitall_all() {
    let parts = outcomes(|driver| send(driver, &pair(driver).0, &[7; 8], 0));
    assert!(parts.contains(&1) && parts.contains(&8), "{parts:?}");
    assert!(parts.iter().all(|count| (1..=8).contains(count)), "{parts:?}");
    let all = outcomes(|driver| send(driver, &pair(driver).0, &[7; 8], libc::MSG_WAITALL));
    assert_eq!(all, BTreeSet::from([8]));
}

#[test]
fn a_receive_gives_any_part_and_with_waitall_all_unless_the_stream_ends() {
    let receive = |flags| {
        outcomes(move |driver| {
            let (client, server) = pair(driver);
            assert_eq!(send(driver, &client, b"12345678", libc::MSG_WAITALL), 8);
            pass(driver, Duration::from_secs(1));
            let (count, bytes) = recv(driver, &server, 8, flags);
            assert_eq!(bytes, b"12345678"[..count as usize]);
            count
        })
    };
    let parts = receive(0);
    assert!(parts.contains(&1) && parts.contains(&8), "{parts:?}");
    assert_eq!(receive(libc::MSG_WAITALL), BTreeSet::from([8]));
    let short = outcomes(|driver| {
        let (client, server) = pair(driver);
        send(driver, &client, b"123", libc::MSG_WAITALL);
        drop(client);
        recv(driver, &server, 8, libc::MSG_WAITALL)
    });
    assert_eq!(short, BTreeSet::from([(3, b"123".to_vec())]));
}

#[test]
fn a_cancel_of_a_receive_wins_loses_and_ties() {
    let ends = outcomes(|driver| {
        let (client, server) = pair(driver);
        let recv = driver.handle().submit(op::Recv::new(server, Vec::with_capacity(4), 0));
        let send = driver.handle().submit(op::Send::new(client, &b"data"[..], libc::MSG_WAITALL));
        for _ in 0..2 {
            driver.turn(Some(Duration::ZERO)).expect("it goes on");
        }
        recv.request_cancel();
        let (result, bytes) = wait(driver, recv);
        wait(driver, send).result.expect("sent");
        (number(result), bytes.len())
    });
    assert!(ends.contains(&(-libc::ECANCELED, 0)), "{ends:?}");
    assert!(ends.contains(&(4, 4)), "{ends:?}");
    assert!(
        ends.iter().all(|(result, len)| *result == -libc::ECANCELED || *result == *len as i32),
        "{ends:?}"
    );
}

#[test]
fn a_cancelled_waitall_receive_reports_the_bytes_it_has() {
    let ends = outcomes(|driver| {
        let (client, server) = pair(driver);
        let recv = driver.handle().submit(op::Recv::new(server, Vec::with_capacity(8), libc::MSG_WAITALL));
        send(driver, &client, b"123", libc::MSG_WAITALL);
        pass(driver, Duration::from_secs(1));
        recv.request_cancel();
        let (result, bytes) = wait(driver, recv);
        assert_eq!(bytes, b"123"[..bytes.len()]);
        number(result)
    });
    assert_eq!(ends, BTreeSet::from([3]));
}

/// What became of a multishot receive: its results, and whether it failed in the end.
fn receive_all(driver: &Driver, buffers: u16, bundle: bool) -> Option<(Vec<usize>, i32)> {
    let capabilities = driver.handle().capabilities();
    if !(capabilities.recv_multi && capabilities.buffer_groups) {
        return None;
    }
    let config = GroupConfig {
        buffers,
        buffers_max: buffers,
        buffer_bytes: 4,
        incremental: capabilities.incremental && !bundle,
    };
    let group = driver.handle().open_group(config).expect("a group");
    let (client, server) = pair(driver);
    let recv = op::RecvMulti::new(server, group);
    let mut stream = driver.handle().submit_multi(if bundle { recv.bundle() } else { recv });
    send(driver, &client, b"0123456789abcdef", libc::MSG_WAITALL);
    drop(client);
    let (mut counts, mut bytes, mut end, mut leases) = (Vec::new(), Vec::new(), 0, Vec::new());
    loop {
        match stream.poll_item(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(Some(Ok(received))) => {
                counts.push(received.len());
                for lease in received {
                    bytes.extend_from_slice(&lease);
                    leases.push(lease);
                }
            }
            Poll::Ready(Some(Err(error))) => end = number::<i32>(Err(error)),
            Poll::Ready(None) => break,
            Poll::Pending => drop(driver.turn(Some(Duration::from_secs(20))).expect("it goes on")),
        }
    }
    assert_eq!(bytes, b"0123456789abcdef"[..bytes.len()], "bytes in order, none lost, none twice");
    Some((counts, end))
}

#[test]
fn a_multishot_ends_with_bytes_with_the_end_or_for_want_of_buffers() {
    for bundle in [false, true] {
        let ends: Vec<_> = outcomes(|driver| receive_all(driver, 8, bundle)).into_iter().flatten().collect();
        let total = |counts: &[usize]| counts.iter().sum::<usize>();
        assert!(
            ends.iter().any(|(counts, end)| *end == 0 && total(counts) == 16),
            "to the end of the stream"
        );
        assert!(
            ends.iter().any(|(counts, end)| *end == 0 && total(counts) < 16 && counts.last() > Some(&0)),
            "its last completion carries bytes"
        );
        assert!(ends.iter().any(|(_, end)| *end == -libc::ENOBUFS), "no buffer");
        assert!(ends.iter().all(|(_, end)| [0, -libc::ENOBUFS].contains(end)), "{ends:?}");
    }
    // Leases are kept above, so two buffers cannot carry sixteen bytes.
    let starved = outcomes(|driver| receive_all(driver, 2, false));
    let starved: Vec<_> = starved.into_iter().flatten().collect();
    assert!(starved.iter().all(|(counts, _)| counts.iter().sum::<usize>() <= 8), "{starved:?}");
}

#[test]
fn an_accept_without_a_descriptor_leaves_the_client_in_the_backlog() {
    let refusals = outcomes(|driver| {
        let (listener, address) = listener(driver);
        let client = socket(driver);
        let connect = driver.handle().submit(connect_op(&client, address));
        let mut refusals = 0;
        loop {
            match wait(driver, driver.handle().submit(op::Accept::new(listener.clone()))) {
                Ok(_connection) => break,
                Err(error) => {
                    assert_eq!(error.raw_os_error(), Some(libc::EMFILE));
                    refusals += 1;
                }
            }
        }
        wait(driver, connect).expect("connected all the same");
        refusals
    });
    assert!(refusals.contains(&0) && refusals.len() > 1, "{refusals:?}");
}

#[test]
fn completions_of_different_operations_come_in_any_order() {
    let orders = outcomes(|driver| {
        let mut nops: Vec<_> = (0..3).map(|_| Some(driver.handle().submit(Nop))).collect();
        let mut order = Vec::new();
        while order.len() < nops.len() {
            for (index, slot) in nops.iter_mut().enumerate() {
                if slot.as_mut().is_some_and(|nop| poll_once(nop).is_ready()) {
                    order.push(index);
                    *slot = None;
                }
            }
            driver.turn(Some(Duration::from_micros(1))).expect("it goes on");
        }
        order
    });
    assert!(orders.contains(&vec![0, 1, 2]) && orders.contains(&vec![2, 1, 0]), "{orders:?}");
}

#[test]
fn a_full_queue_delays_operations_and_loses_none() {
    let backlogged = outcomes(|driver| {
        let nops: Vec<_> = (0..200).map(|_| driver.handle().submit(Nop)).collect();
        for nop in nops {
            wait(driver, nop).expect("a nop");
        }
        driver.stats().backlogged > 0
    });
    assert_eq!(backlogged, BTreeSet::from([false, true]));
}

#[test]
fn a_wait_may_end_early_with_nothing() {
    let ends = outcomes(|driver| {
        let mut timeout = driver.handle().submit(op::Timeout::new(Duration::from_secs(5)));
        let collected = driver.turn(None).expect("it goes on");
        (collected, poll_once(&mut timeout).is_ready())
    });
    assert!(ends.contains(&(0, false)) && ends.contains(&(1, true)), "{ends:?}");
}

#[test]
fn closing_with_unread_bytes_is_a_reset_and_without_is_an_end() {
    for (unread, expected) in [(true, -libc::ECONNRESET), (false, 0)] {
        let ends = outcomes(|driver| {
            let (client, server) = pair(driver);
            if unread {
                send(driver, &client, b"nobody reads this", libc::MSG_WAITALL);
                pass(driver, Duration::from_secs(1));
            }
            drop(server);
            let first = recv(driver, &client, 8, 0).0;
            let second = recv(driver, &client, 8, 0).0;
            (first, second)
        });
        assert_eq!(ends, BTreeSet::from([(expected, 0)]), "an error once, and the end ever after");
    }
}

#[test]
fn a_plain_drop_closes_only_when_no_operation_holds_the_socket() {
    let ends = outcomes(|driver| {
        let (client, server) = pair(driver);
        let held = driver.handle().submit(op::Recv::new(server, Vec::with_capacity(4), 0));
        pass(driver, Duration::from_secs(1));
        // The operation has the only descriptor: the peer sees no end as long as it lives.
        let mut end = driver.handle().submit(op::Recv::new(client, Vec::with_capacity(4), 0));
        pass(driver, Duration::from_secs(1));
        let before = poll_once(&mut end).is_pending();
        held.request_cancel();
        drop(wait(driver, held));
        (before, number(wait(driver, end).0))
    });
    assert_eq!(ends, BTreeSet::from([(true, 0)]));
}

#[test]
fn writing_to_a_peer_that_is_gone_is_a_reset_and_then_a_broken_pipe() {
    let ends = outcomes(|driver| {
        let (client, server) = pair(driver);
        drop(server);
        let first = send(driver, &client, b"x", libc::MSG_WAITALL);
        pass(driver, Duration::from_secs(1));
        (
            first,
            send(driver, &client, b"x", libc::MSG_WAITALL),
            send(driver, &client, b"x", libc::MSG_WAITALL),
        )
    });
    // Behind the peer's end, the reset is a broken pipe already.
    assert_eq!(ends, BTreeSet::from([(1, -libc::EPIPE, -libc::EPIPE)]));
}

#[test]
fn a_poll_reports_bytes_and_the_end() {
    let masks = outcomes(|driver| {
        let (client, server) = pair(driver);
        let poll = driver.handle().submit(op::Poll::new(server.clone(), libc::POLLIN as u32));
        send(driver, &client, b"x", libc::MSG_WAITALL);
        let bytes = number(wait(driver, poll));
        drop(client);
        pass(driver, Duration::from_secs(1));
        let poll = op::Poll::new(server, (libc::POLLRDHUP | libc::POLLOUT) as u32);
        (bytes, number(wait(driver, driver.handle().submit(poll))))
    });
    let ended = i32::from(libc::POLLRDHUP | libc::POLLOUT);
    assert_eq!(masks, BTreeSet::from([(i32::from(libc::POLLIN), ended)]));
}

#[test]
fn memory_runs_out_when_asked_for_and_only_then() {
    let ends = |faults: Faults| {
        let mut settings = Settings::default();
        settings.faults = faults;
        let run = |seed| {
            let sim = Sim::builder(seed).settings(settings.clone()).build();
            let driver = sim.driver("main").expect("a driver");
            wait(&driver, driver.handle().submit(Nop)).err().and_then(|error| error.raw_os_error())
        };
        (0..SEEDS).map(run).collect::<BTreeSet<_>>()
    };
    let mut scarce = Faults::none();
    scarce.no_memory = 256;
    assert_eq!(ends(scarce), BTreeSet::from([None, Some(libc::ENOMEM)]));
    assert_eq!(ends(Faults::default()), BTreeSet::from([None]));
}

#[test]
fn a_wait_for_what_never_comes_is_an_error_and_not_a_hang() {
    let sim = Sim::builder(0).settings(kind()).build();
    let driver = sim.driver("main").expect("a driver");
    let error = driver.turn(None).expect_err("nothing can come");
    assert_eq!(error.kind(), std::io::ErrorKind::Deadlock);
}

#[test]
fn a_pipe_carries_bytes_and_ends_when_its_writer_is_closed() {
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let driver = sim.driver("main").expect("a driver");
        let (reader, writer) = sim.pipe("main").expect("a pipe");
        let (reader, writer) = (SharedFd::new(reader), SharedFd::new(writer));
        let mut sent = 0;
        while sent < 6 {
            let write = op::WriteAt::new(writer.clone(), b"stream"[sent..].to_vec(), 0);
            sent += wait(&driver, driver.handle().submit(write)).0.expect("room");
        }
        drop(writer);
        let mut bytes = Vec::with_capacity(16);
        loop {
            let read = driver.handle().submit(op::ReadAt::new(reader.clone(), bytes, 0));
            let (count, back) = wait(&driver, read);
            bytes = back;
            if count.expect("readable") == 0 {
                break;
            }
        }
        assert_eq!(bytes, b"stream", "seed {seed}");
    }
}

#[test]
fn closing_by_way_of_the_ring_ends_the_connection() {
    let ends = outcomes(|driver| {
        let (client, server) = pair(driver);
        let server = server.try_into_owned().expect("the only holder");
        wait(driver, driver.handle().submit(op::Close::new(server))).expect("closed");
        recv(driver, &client, 4, 0).0
    });
    assert_eq!(ends, BTreeSet::from([0]));
}

#[test]
fn a_message_to_a_ring_ends_its_wait() {
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let (one, other) = (sim.driver("one").expect("a driver"), sim.driver("other").expect("a driver"));
        let ring = other.as_fd().try_clone_to_owned().expect("a descriptor");
        wait(&one, one.handle().submit(op::MsgRing::new(ring, 7))).expect("the ring is there");
        // Nothing else could end this wait.
        assert_eq!(other.turn(None).expect("the message ends it"), 0, "seed {seed}");
    }
}

fn kind() -> Settings {
    let mut settings = Settings::default();
    settings.faults = Faults::none();
    settings
}

#[test]
fn a_ring_that_is_dropped_ends_its_operations_later() {
    // The driver waits for them, so nothing is lent when it is gone, whatever the seed.
    for seed in 0..SEEDS {
        let sim = Sim::new(seed);
        let driver = sim.driver("main").expect("a driver");
        let (client, server) = pair(&driver);
        let mut recv: Pin<Box<_>> =
            Box::pin(driver.handle().submit(op::Recv::new(server, Vec::with_capacity(4), 0)));
        assert!(recv.as_mut().poll(&mut Context::from_waker(Waker::noop())).is_pending());
        drop((client, driver));
        let Poll::Ready((result, _)) = recv.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
            panic!("seed {seed}: the driver ended, and its operation did not")
        };
        assert!([0, -libc::ECANCELED].contains(&number(result)), "seed {seed}");
        assert_eq!(sim.report().leaked, 0);
    }
}
