//! Buffers that the kernel picks, on the real kernel: every byte arrives once and in order,
//! and every buffer comes home.

use std::io::Write;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use crate::ring;
use crate::support::kernel::{can, next, turn_until};
use crate::support::{Bell, ops, poll, poll_with};
use coronet_ring::{Driver, Group, GroupConfig, Lease, OpStream, SharedFd};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Plain,
    Incremental,
    Bundle,
}

struct Rig {
    driver: Driver,
    group: Group,
    kind: Kind,
    ours: SharedFd,
    theirs: UnixStream,
}

fn rig(name: &str, kind: Kind, buffers: u16, buffer_bytes: u32) -> Option<Rig> {
    growing(name, kind, (buffers, buffers), buffer_bytes)
}

/// A group of so many buffers at first, and so many at most.
fn growing(name: &str, kind: Kind, (buffers, buffers_max): (u16, u16), buffer_bytes: u32) -> Option<Rig> {
    let driver = ring(name, 64)?;
    let kind_needs = match kind {
        Kind::Plain => "buffer_groups",
        Kind::Incremental => "incremental",
        // Who asks epoll for bundles gets bundles of one buffer.
        Kind::Bundle if driver.report().name == "epoll" => "buffer_groups",
        Kind::Bundle => "bundles",
    };
    if !can(&driver, name, &["recv_multi", kind_needs]) {
        return None;
    }
    let config = GroupConfig { buffers, buffers_max, buffer_bytes, incremental: kind == Kind::Incremental };
    let group = driver.handle().open_group(config).expect("a group");
    let (ours, theirs) = UnixStream::pair().expect("a pair");
    Some(Rig { driver, group, kind, ours: SharedFd::new(OwnedFd::from(ours)), theirs })
}

impl Rig {
    fn receive(&self) -> OpStream<ops::RecvMulti> {
        let (socket, group) = (self.ours.clone(), self.group.clone());
        let bundle = self.kind == Kind::Bundle;
        self.driver.handle().submit_multi(ops::RecvMulti { socket, group, bundle })
    }

    /// Receives so many bytes, arming again when the group ran dry.
    fn gather(&self, stream: &mut OpStream<ops::RecvMulti>, count: usize, mut each: impl FnMut(Lease)) {
        let mut left = count;
        while left > 0 {
            match next(&self.driver, stream) {
                Some(Ok(received)) => {
                    assert!(!received.is_empty(), "the peer is there");
                    for lease in received {
                        left = left.checked_sub(lease.len()).expect("no more than was sent");
                        each(lease);
                    }
                }
                Some(Err(error)) => assert_eq!(error.raw_os_error(), Some(libc::ENOBUFS), "{error}"),
                None => *stream = self.receive(),
            }
        }
    }

    /// The stream is gone, and every buffer is where it was.
    fn assert_home(self, stream: OpStream<ops::RecvMulti>, leases: usize) {
        drop(stream);
        turn_until(&self.driver, || self.ours.holders() == 1);
        let (stats, group) = (self.driver.stats(), &self.group);
        assert_eq!((stats.in_flight, stats.stale), (0, 0), "{stats:?}");
        assert_eq!((stats.leased as usize, group.leased()), (leases, leases));
    }
}

/// The byte at a position of the stream: not periodic in any size that a test uses.
fn byte(position: usize) -> u8 {
    (position.wrapping_mul(0x9e37_79b9) >> 13) as u8
}

/// Every size goes out in one write, and has to arrive byte by byte.
fn exact(name: &str, kind: Kind) {
    const BUFFER: usize = 512;
    let Some(mut rig) = rig(name, kind, 8, BUFFER as u32) else { return };
    let mut stream = rig.receive();
    let sizes = [
        1,
        2,
        3,
        100,
        BUFFER - 1,
        BUFFER,
        BUFFER + 1,
        2 * BUFFER,
        3 * BUFFER + 7,
        8 * BUFFER,
        20 * BUFFER + 1,
    ];
    let mut position = 0;
    for size in sizes.into_iter().chain((1..200).step_by(7)).chain([30 * BUFFER; 3]) {
        let sent: Vec<u8> = (position..position + size).map(byte).collect();
        rig.theirs.write_all(&sent).expect("sent");
        let mut arrived = Vec::new();
        rig.gather(&mut stream, size, |lease| arrived.extend_from_slice(&lease));
        assert!(arrived == sent, "{size} bytes from position {position}");
        position += size;
    }
    let group = rig.group.clone();
    rig.assert_home(stream, 0);
    // An incremental buffer that is half full is the kernel's, and counts as available.
    assert_eq!((group.available(), group.leased()), (8, 0));
}

#[test]
fn every_byte_arrives_once_on_a_plain_group() {
    exact("every_byte_arrives_once_on_a_plain_group", Kind::Plain);
}

#[test]
fn every_byte_arrives_once_on_an_incremental_group() {
    exact("every_byte_arrives_once_on_an_incremental_group", Kind::Incremental);
}

#[test]
fn every_byte_arrives_once_in_bundles() {
    exact("every_byte_arrives_once_in_bundles", Kind::Bundle);
}

/// The trap: a bundle spans buffers in ring order, which is the order they came back in.
#[test]
fn bytes_stay_in_order_when_buffers_come_home_in_any_order() {
    let name = "bytes_stay_in_order_when_buffers_come_home_in_any_order";
    for kind in [Kind::Plain, Kind::Incremental, Kind::Bundle] {
        let Some(mut rig) = rig(name, kind, 8, 64) else { continue };
        let mut stream = rig.receive();
        let (mut held, mut position) = (Vec::<(usize, Lease)>::new(), 0_usize);
        for round in 0..200_usize {
            let size = 1 + (round * 37) % 180;
            let sent: Vec<u8> = (position..position + size).map(byte).collect();
            rig.theirs.write_all(&sent).expect("sent");
            let mut start = position;
            rig.gather(&mut stream, size, |lease| {
                let next = start + lease.len();
                held.push((start, lease));
                start = next;
                // Three leases stay; the one that goes is another one each time.
                if held.len() > 3 {
                    let (at, lease) = held.swap_remove(round % held.len());
                    assert!(lease.iter().copied().eq((at..at + lease.len()).map(byte)), "position {at}");
                }
            });
            position += size;
        }
        for (at, lease) in held.drain(..) {
            assert!(lease.iter().copied().eq((at..at + lease.len()).map(byte)), "position {at}");
        }
        rig.assert_home(stream, 0);
    }
}

/// The trap: the group is empty, and nobody tells the one who could go on.
#[test]
fn an_empty_group_ends_the_stream_and_room_wakes_when_a_buffer_comes_home() {
    let name = "an_empty_group_ends_the_stream_and_room_wakes_when_a_buffer_comes_home";
    let Some(mut rig) = rig(name, Kind::Plain, 2, 16) else { return };
    let mut stream = rig.receive();
    assert!(poll(&mut rig.group.room()).is_ready(), "there is room now");
    rig.theirs.write_all(&[5; 48]).expect("sent");
    let mut leases = Vec::new();
    let mut ended = None;
    while let Some(item) = next(&rig.driver, &mut stream) {
        match item {
            Ok(received) => leases.extend(received),
            Err(error) => ended = error.raw_os_error(),
        }
    }
    assert_eq!((ended, leases.len(), rig.group.available()), (Some(libc::ENOBUFS), 2, 0));
    let (bell, waker) = Bell::new();
    let mut room = rig.group.room();
    assert!(poll_with(&mut room, &waker).is_pending());
    drop(leases.pop());
    assert_eq!(bell.rings(), 1);
    assert!(poll(&mut room).is_ready());
    let mut stream = rig.receive();
    rig.gather(&mut stream, 16, |lease| assert_eq!(*lease, [5; 16]));
    drop(leases);
    rig.assert_home(stream, 0);
}

/// The trap: the kernel does not see what was added, or fills what was given back.
#[test]
fn a_group_that_may_grow_takes_all_in_while_leases_are_held_and_shrinks_when_they_are_not() {
    let name = "a_group_that_may_grow_takes_all_in_while_leases_are_held_and_shrinks_when_they_are_not";
    for kind in [Kind::Plain, Kind::Incremental, Kind::Bundle] {
        let Some(mut rig) = growing(name, kind, (4, 64), 4096) else { continue };
        let mut stream = rig.receive();
        for round in 0..3 {
            let sent: Vec<u8> = (round..round + 40 * 4096).map(byte).collect();
            rig.theirs.write_all(&sent).expect("sent");
            let mut leases = Vec::new();
            rig.gather(&mut stream, sent.len(), |lease| leases.push(lease));
            assert!(leases.iter().flat_map(|lease| lease.iter()).eq(&sent), "{kind:?}, round {round}");
            assert!(rig.group.bytes() >= 40 * 4096, "{kind:?}: all of it is held");
            drop(leases);
        }
        // What is in the ring is the kernel's, and comes home with the bytes that it takes.
        for _ in 0..10_000 {
            if !rig.group.is_grown() {
                break;
            }
            rig.theirs.write_all(&[7; 4096]).expect("sent");
            rig.gather(&mut stream, 4096, drop);
            rig.driver.turn(Some(Duration::from_millis(5))).expect("a turn");
        }
        assert_eq!(rig.group.bytes(), 4 * 4096, "{kind:?}");
        assert_eq!(rig.group.grown(), rig.group.shrunk());
        assert_eq!(rig.driver.stats().pool_bytes, rig.group.bytes());
        rig.assert_home(stream, 0);
    }
}

/// The trap: items that nobody took hold buffers; a peer that sends on uses up the group.
#[test]
fn a_stream_dropped_unread_gives_every_buffer_back() {
    for kind in [Kind::Plain, Kind::Incremental, Kind::Bundle] {
        let Some(mut rig) = rig("a_stream_dropped_unread_gives_every_buffer_back", kind, 4, 64) else {
            continue;
        };
        for _ in 0..10 {
            let before = rig.driver.stats().completions;
            let stream = rig.receive();
            rig.theirs.write_all(&[1; 100]).expect("sent");
            turn_until(&rig.driver, || rig.driver.stats().completions > before);
            drop(stream);
            turn_until(&rig.driver, || rig.ours.holders() == 1);
            assert_eq!((rig.group.available(), rig.group.leased()), (4, 0), "{kind:?}");
        }
    }
}

#[test]
fn a_lease_outlives_its_stream_and_its_driver() {
    let Some(mut rig) = rig("a_lease_outlives_its_stream_and_its_driver", Kind::Plain, 2, 64) else { return };
    let mut stream = rig.receive();
    rig.theirs.write_all(b"still here").expect("sent");
    let mut leases = Vec::new();
    rig.gather(&mut stream, 10, |lease| leases.push(lease));
    let group = rig.group.clone();
    rig.assert_home(stream, 1);
    assert_eq!(*leases[0], *b"still here");
    drop(leases);
    assert_eq!((group.available(), group.leased()), (2, 0));
}

#[test]
fn the_end_of_the_peer_is_an_item_without_bytes() {
    let Some(rig) = rig("the_end_of_the_peer_is_an_item_without_bytes", Kind::Plain, 2, 64) else { return };
    let mut stream = rig.receive();
    drop(rig.theirs);
    let received = next(&rig.driver, &mut stream).expect("an item").expect("not an error");
    assert!(received.is_empty());
    assert!(next(&rig.driver, &mut stream).is_none());
    assert_eq!((rig.group.available(), rig.group.leased()), (2, 0));
}
