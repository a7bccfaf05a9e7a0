//! A relay between two TCP connections on the real kernel: exact bytes through every switch of the way,
//! ends and resets each way, nothing lost or left over by a relay that is dropped.
//!
//! Which way a test is on it sees by the pipes of the process: there are none before bulk came.

mod support;

use std::cell::Cell;
use std::io::{ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream as StdStream};
use std::pin::pin;

use coronet::net::{RelaySide, TcpStream, relay, relay_with};
use coronet::task::yield_now;
use futures_util::future::{join, poll_immediate};
use support::{Pattern, Sequence, beside, descriptors, pair, reset, world};

/// How far a test goes before what it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Before {
    /// A few messages: they go in leases.
    Messages,
    /// Enough bulk for a pipe.
    Bulk,
}

impl Before {
    const BOTH: [Self; 2] = [Self::Messages, Self::Bulk];

    /// Bytes of one piece, and how many of them.
    fn pieces(self) -> (usize, usize) {
        match self {
            Self::Messages => (100, 8),
            Self::Bulk => (128 << 10, 32),
        }
    }
}

fn pipes() -> usize {
    descriptors().iter().filter(|line| line.contains("pipe:")).count()
}

/// Exchanges pieces, one at a time, so that each is received on its own. Ends with the position.
fn exchange(from: &mut StdStream, to: &mut StdStream, pattern: &Pattern, before: Before) -> u64 {
    let (len, count) = before.pieces();
    let mut got = vec![0; len];
    let mut position = 0;
    for _ in 0..count {
        from.write_all(pattern.at(position, len)).unwrap();
        to.read_exact(&mut got).unwrap();
        pattern.check(position, &got);
        position += len as u64;
    }
    position
}

/// Sends pieces of random sizes, of messages for a while and of bulk for a while.
fn send_mixed(peer: &mut StdStream, pattern: &Pattern, seed: u64, pieces: usize) -> u64 {
    let mut sequence = Sequence::new(seed);
    let mut position = 0;
    for piece in 0..pieces {
        let is_bulk = piece / 16 % 2 == 1;
        let len = if is_bulk { (60 << 10) + sequence.below(300_000) } else { 1 + sequence.below(3000) };
        peer.write_all(pattern.at(position, len as usize)).unwrap();
        position += len;
        // So that messages arrive as such, often enough.
        sequence.spin(60);
    }
    peer.shutdown(Shutdown::Write).unwrap();
    position
}

/// Reads to the end, in pieces of random sizes, stalling at times.
fn take_all(peer: &mut StdStream, pattern: &Pattern, seed: u64) -> u64 {
    let mut sequence = Sequence::new(seed);
    let mut room = vec![0; 300_000];
    let mut position = 0;
    loop {
        let len = 1 + sequence.below(300_000) as usize;
        let count = match peer.read(&mut room[..len]) {
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            result => result.unwrap(),
        };
        if count == 0 {
            return position;
        }
        pattern.check(position, &room[..count]);
        position += count as u64;
        if sequence.below(16) == 0 {
            sequence.spin(500);
        }
    }
}

/// Both halves of a peer at once, each on a thread.
async fn talk(peer: StdStream, seed: u64, pieces: usize) -> (u64, u64) {
    let mut other = peer.try_clone().unwrap();
    let mut peer = peer;
    let send = beside(move || send_mixed(&mut peer, &Pattern::new(), seed, pieces));
    let take = beside(move || take_all(&mut other, &Pattern::new(), seed + 1));
    join(send, take).await
}

#[test]
fn every_byte_arrives_in_order_both_ways_through_many_switches() {
    for seed in [1, 20, 300] {
        world(async move {
            let ((a, near), (b, far)) = (pair(), pair());
            let carried = [Cell::new(0), Cell::new(0)];
            let relayed = relay_with(&a, &b, |side, bytes| {
                let count = &carried[usize::from(side == RelaySide::B)];
                count.set(count.get() + bytes);
            });
            let talks = join(talk(near, seed, 200), talk(far, seed + 7, 200));
            let (relayed, ((sent_near, got_near), (sent_far, got_far))) = join(relayed, talks).await;
            assert_eq!((got_far, got_near), (sent_near, sent_far));
            assert_eq!(relayed.unwrap(), (sent_near, sent_far));
            assert_eq!(carried.map(Cell::into_inner), [sent_near, sent_far]);
        });
    }
}

#[test]
fn messages_need_no_pipe_and_bulk_does() {
    for before in Before::BOTH {
        world(async move {
            let before_all = pipes();
            let ((a, mut near), (b, mut far)) = (pair(), pair());
            let mut relayed = pin!(relay(&a, &b));
            let talk = beside(move || _ = exchange(&mut near, &mut far, &Pattern::new(), before));
            relayed_beside(relayed.as_mut(), talk).await;
            assert_eq!(pipes() > before_all, before == Before::Bulk, "{before:?}");
        });
    }
}

/// Runs `work` while the relay goes on; the relay may end first.
async fn relayed_beside<T>(relayed: impl Future, work: impl Future<Output = T>) -> T {
    use futures_util::future::{Either, select};
    let (relayed, work) = (pin!(relayed), pin!(work));
    match select(work, relayed).await {
        Either::Left((output, _)) => output,
        Either::Right((_, work)) => work.await,
    }
}

#[test]
fn each_direction_ends_on_its_own() {
    for before in Before::BOTH {
        for is_back in [false, true] {
            world(async move {
                let ((a, near), (b, far)) = (pair(), pair());
                let (mut from, mut to) = if is_back { (far, near) } else { (near, far) };
                let peers = beside(move || {
                    let pattern = Pattern::new();
                    let sent = exchange(&mut from, &mut to, &pattern, before);
                    from.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(to.read(&mut [0; 1]).unwrap(), 0, "the end is passed on");
                    let answered = exchange(&mut to, &mut from, &pattern, before);
                    to.shutdown(Shutdown::Write).unwrap();
                    assert_eq!(from.read(&mut [0; 1]).unwrap(), 0);
                    (sent, answered)
                });
                let (relayed, (sent, answered)) = join(relay(&a, &b), peers).await;
                let counts = if is_back { (answered, sent) } else { (sent, answered) };
                assert_eq!(relayed.unwrap(), counts);
            });
        }
    }
}

#[test]
fn a_reset_is_an_error_that_names_the_side_and_the_bytes_so_far() {
    for before in Before::BOTH {
        for is_back in [false, true] {
            world(async move {
                let ((a, near), (b, far)) = (pair(), pair());
                let (mut from, mut to) = if is_back { (far, near) } else { (near, far) };
                let peers = beside(move || {
                    let sent = exchange(&mut from, &mut to, &Pattern::new(), before);
                    reset(from);
                    (sent, to)
                });
                let (relayed, (sent, _to)) = join(relay(&a, &b), peers).await;
                let broken = relayed.unwrap_err();
                assert_eq!(broken.error.kind(), ErrorKind::ConnectionReset);
                let side = if is_back { RelaySide::B } else { RelaySide::A };
                assert_eq!(broken.side, side);
                let counts = if is_back { (0, sent) } else { (sent, 0) };
                assert_eq!((broken.a_to_b, broken.b_to_a), counts);
            });
        }
    }
}

#[test]
fn a_side_that_takes_no_more_is_an_error_and_what_it_says_still_arrives() {
    for before in Before::BOTH {
        world(async move {
            let ((a, mut near), (b, mut far)) = (pair(), pair());
            let peers = beside(move || {
                let pattern = Pattern::new();
                exchange(&mut near, &mut far, &pattern, before);
                far.write_all(b"enough").unwrap();
                let mut heard = [0; 6];
                near.read_exact(&mut heard).unwrap();
                assert_eq!(&heard, b"enough");
                reset(far);
                // One of these finds the connection gone.
                let (len, _) = before.pieces();
                while near.write_all(pattern.at(0, len)).is_ok() && near.peer_addr().is_ok() {
                    if near.take_error().unwrap().is_some() {
                        break;
                    }
                    std::thread::yield_now();
                }
            });
            // The relay ends, then its streams: only that ends the writes.
            let relayed = async {
                let relayed = relay(&a, &b).await;
                drop((a, b));
                relayed
            };
            let (relayed, ()) = join(relayed, peers).await;
            let broken = relayed.unwrap_err();
            assert_eq!(broken.side, RelaySide::B);
            assert!(
                matches!(broken.error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                "{broken}"
            );
        });
    }
}

/// More than two sockets and a pipe hold, however far the kernel lets the buffers grow.
const TOO_MUCH: u64 = 64 << 20;

/// Writes without a reader until nothing more is taken; how much that was.
fn stuff(peer: &mut StdStream, pattern: &Pattern, piece: usize) -> u64 {
    peer.set_nonblocking(true).unwrap();
    let (mut position, mut refused) = (0, 0);
    while refused < 2000 && position < TOO_MUCH {
        match peer.write(pattern.at(position, piece)) {
            Ok(count) => (position, refused) = (position + count as u64, 0),
            Err(error) if error.kind() == ErrorKind::WouldBlock => {
                refused += 1;
                std::thread::yield_now();
            }
            Err(error) => panic!("{error}"),
        }
    }
    peer.set_nonblocking(false).unwrap();
    position
}

#[test]
fn a_slow_reader_slows_its_sender_and_then_gets_every_byte() {
    for before in Before::BOTH {
        world(async move {
            let ((a, mut near), (b, mut far)) = (pair(), pair());
            let peers = beside(move || {
                let pattern = Pattern::new();
                let sent = stuff(&mut near, &pattern, before.pieces().0);
                assert!(sent < TOO_MUCH, "{sent} bytes were taken that nobody reads");
                near.shutdown(Shutdown::Write).unwrap();
                assert_eq!(take_all(&mut far, &pattern, 5), sent);
                far.shutdown(Shutdown::Write).unwrap();
                sent
            });
            let (relayed, sent) = join(relay(&a, &b), peers).await;
            assert_eq!(relayed.unwrap(), (sent, 0));
        });
    }
}

/// Reads the rest of a stream, and where that is in the pattern.
async fn rest_of(stream: &TcpStream, pattern: &Pattern, mut position: u64) -> u64 {
    loop {
        let bytes = stream.recv().await.unwrap();
        if bytes.is_empty() {
            return position;
        }
        pattern.check(position, &bytes);
        position += bytes.len() as u64;
    }
}

/// `world` counts descriptors and operations behind it.
#[test]
fn a_relay_that_is_dropped_in_the_middle_loses_no_byte_and_leaves_nothing() {
    for before in Before::BOTH {
        world(async move {
            let ((a, mut near), (b, mut far)) = (pair(), pair());
            let (piece, _) = before.pieces();
            // The reader sleeps, so the relay holds as much as it can when it is dropped.
            let stuffed = {
                let stuffing = beside(move || (stuff(&mut near, &Pattern::new(), piece), near));
                relayed_beside(relay(&a, &b), stuffing).await
            };
            let (sent, near) = stuffed;
            near.shutdown(Shutdown::Write).unwrap();
            // A send that had begun goes on while its reader comes back.
            let arrived = beside(move || take_all(&mut far, &Pattern::new(), 5));
            let flushed = async {
                b.flush().await.unwrap();
                b.shutdown(Shutdown::Write).unwrap();
            };
            let (arrived, ()) = join(arrived, flushed).await;
            assert!(arrived < sent, "it was dropped in the middle");
            assert_eq!(rest_of(&a, &Pattern::new(), arrived).await, sent);
            a.close().await.unwrap();
            b.close().await.unwrap();
        });
    }
}

#[test]
fn a_relay_that_is_dropped_at_any_time_goes_on_where_it_was() {
    world(async {
        let ((a, near), (b, far)) = (pair(), pair());
        let mut sequence = Sequence::new(11);
        let mut talks = pin!(join(talk(near, 3, 120), talk(far, 4, 120)));
        let mut relays = 0;
        let done = loop {
            let mut relayed = pin!(relay(&a, &b));
            let mut finished = None;
            for _ in 0..1 + sequence.below(200) {
                yield_now().await;
                finished = poll_immediate(talks.as_mut()).await;
                if finished.is_some() || poll_immediate(relayed.as_mut()).await.is_some() {
                    break;
                }
            }
            relays += 1;
            if let Some(finished) = finished {
                break finished;
            }
        };
        let ((sent_near, got_near), (sent_far, got_far)) = done;
        assert_eq!((got_far, got_near), (sent_near, sent_far), "after {relays} relays");
        assert!(relays > 20, "only {relays} relays were dropped");
    });
}

#[test]
fn a_stream_can_be_closed_at_once_after_its_relay_was_dropped() {
    for before in Before::BOTH {
        world(async move {
            let ((a, mut near), (b, mut far)) = (pair(), pair());
            let exchanged = beside(move || {
                exchange(&mut near, &mut far, &Pattern::new(), before);
                (near, far)
            });
            let (mut near, mut far) = relayed_beside(relay(&a, &b), exchanged).await;
            a.close().await.unwrap();
            b.close().await.unwrap();
            let ends = beside(move || (near.read(&mut [0; 1]).unwrap(), far.read(&mut [0; 1]).unwrap()));
            assert_eq!(ends.await, (0, 0));
        });
    }
}

/// The trap: a splice says "nothing" where urgent data is, which would pass for the end.
/// A relay may leave its sockets in non-blocking mode, where the ring waits all the same.
#[test]
fn a_stream_that_was_relayed_is_in_blocking_mode_when_it_leaves() {
    for before in Before::BOTH {
        world(async move {
            let ((a, mut near), (b, mut far)) = (pair(), pair());
            let peers = beside(move || {
                exchange(&mut near, &mut far, &Pattern::new(), before);
                exchange(&mut far, &mut near, &Pattern::new(), before);
                near.shutdown(Shutdown::Write).unwrap();
                far.shutdown(Shutdown::Write).unwrap();
            });
            let (relayed, ()) = join(relay(&a, &b), peers).await;
            relayed.unwrap();
            for stream in [a, b] {
                let stream = stream.into_std().unwrap();
                assert!(!socket2::SockRef::from(&stream).nonblocking().unwrap(), "{before:?}");
            }
        });
    }
}

#[test]
fn urgent_data_does_not_end_a_relay() {
    world(async {
        let ((a, mut near), (b, mut far)) = (pair(), pair());
        let peers = beside(move || {
            let pattern = Pattern::new();
            exchange(&mut near, &mut far, &pattern, Before::Bulk);
            socket2::SockRef::from(&near).send_out_of_band(b"!").unwrap();
            let sent = exchange(&mut near, &mut far, &pattern, Before::Bulk);
            near.shutdown(Shutdown::Write).unwrap();
            assert_eq!(far.read(&mut [0; 1]).unwrap(), 0);
            far.shutdown(Shutdown::Write).unwrap();
            sent
        });
        let (relayed, sent) = join(relay(&a, &b), peers).await;
        assert_eq!(relayed.unwrap(), (2 * sent, 0), "the urgent byte is not part of the stream");
    });
}
