//! Short counts, single bytes, odd pieces: what arrives is what was sent.

use std::io::ErrorKind;
use std::time::Duration;

use coronet::io::EndedEarly;
use coronet::net::{Shutdown, TcpStream};
use coronet::ring::{SharedFd, op};
use coronet::task::yield_now;
use coronet::time::sleep;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{Census, Sequence, bytes_at, check, handle, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(read_exact_collects_bytes_that_come_one_by_one),
    promise!(a_write_of_more_than_sockets_hold_arrives_whole),
    promise!(many_buffers_go_as_one_and_in_order),
    promise!(a_vectored_send_says_how_much_the_kernel_took),
    promise!(a_vectored_send_that_is_dropped_goes_whole_or_not_at_all),
    promise!(what_does_not_fit_the_buffer_comes_with_the_next_read),
    promise!(a_stream_that_ends_early_gives_what_came_before),
    promise!(a_read_without_room_takes_nothing),
    promise!(a_peer_may_change_its_traffic_at_any_byte),
];

async fn read_exact_collects_bytes_that_come_one_by_one(kernel: Kernel) {
    let len = kernel.count(2_000, 300);
    let (stream, peer) = pair().await;
    peer.set_nodelay(true).expect("a socket");
    let write = async {
        for position in 0..len {
            peer.write_all(bytes_at(position, 1)).await.0.expect("the peer reads");
        }
    };
    let read = async {
        let mut position = 0;
        while position < len {
            let wanted = (len - position).min(77);
            let (result, bytes) = stream.read_exact(Vec::with_capacity(wanted)).await;
            result.expect("all are on their way");
            // The room of a vector may be larger than what was asked for, and all of it is filled.
            assert!(bytes.len() >= wanted);
            check(position, &bytes);
            position += bytes.len();
        }
    };
    let ((), ()) = coronet::join!(write, read);
}

async fn a_write_of_more_than_sockets_hold_arrives_whole(kernel: Kernel) {
    let len = kernel.count(12 << 20, 700_000);
    let (stream, peer) = pair().await;
    let write = async {
        let (result, bytes) = stream.write_all(bytes_at(0, len)).await;
        result.expect("the peer reads");
        assert_eq!(bytes.len(), len, "the buffer comes back");
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(read, len);
}

async fn many_buffers_go_as_one_and_in_order(kernel: Kernel) {
    let count = kernel.count(3_000, 1_100);
    let (stream, peer) = pair().await;
    let (mut bufs, mut position) = (Vec::new(), 0);
    for number in 0..count {
        let len = number % 23;
        bufs.push(bytes_at(position, len));
        position += len;
    }
    let write = async {
        let (result, bufs) = stream.write_vectored_all(bufs).await;
        result.expect("the peer reads");
        assert_eq!(bufs.len(), count, "they come back");
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(read, position);
}

/// Slices of odd lengths, some empty, from `position` on.
fn slices(position: usize, count: usize) -> Vec<Vec<u8>> {
    let mut start = position;
    let piece = |number| {
        let len = number * 7 % 29;
        start += len;
        bytes_at(start - len, len)
    };
    (0..count).map(piece).collect()
}

async fn a_vectored_send_says_how_much_the_kernel_took(kernel: Kernel) {
    let len = kernel.count(400_000, 5_000);
    let (stream, peer) = pair().await;
    let socket = SharedFd::new(stream.into_std().expect("it was never read").into());
    let write = async {
        let mut position = 0;
        while position < len {
            let send = op::SendVectored::new(socket.clone(), slices(position, 40), 0);
            let (result, bufs) = handle().submit(send).await;
            let sent = result.expect("the peer reads");
            assert!((1..=bufs.concat().len()).contains(&sent), "{sent}");
            // What it did not take is made again, from there on.
            position += sent;
        }
        drop(socket);
        position
    };
    let (sent, read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(sent, read);
}

async fn a_vectored_send_that_is_dropped_goes_whole_or_not_at_all(kernel: Kernel) {
    for turns in 0..kernel.count(20, 5) {
        let (stream, peer) = pair().await;
        let socket = SharedFd::new(stream.into_std().expect("it was never read").into());
        let census = Census::default();
        let bufs: Vec<_> = slices(0, 300).into_iter().map(|bytes| census.buffer(bytes)).collect();
        let send = handle().submit(op::SendVectored::new(socket.clone(), bufs, libc::MSG_WAITALL));
        for _ in 0..turns {
            yield_now().await;
        }
        drop(send);
        let was_sent = census.alive() > 0;
        assert!(!was_sent || census.alive() == 300, "the kernel has all of them or none");
        while census.alive() > 0 {
            sleep(Duration::from_micros(100)).await;
        }
        drop(socket);
        let read = read_all(&peer, 0).await;
        let len = slices(0, 300).concat().len();
        // It runs to its end, unless it still waited for room in the queue; or it was over before.
        assert!(read == len || (read == 0 && !was_sent), "{read} of {len}");
    }
}

async fn what_does_not_fit_the_buffer_comes_with_the_next_read(_: Kernel) {
    const LEN: usize = 2_000;
    let (stream, peer) = pair().await;
    peer.write_all(bytes_at(0, LEN)).await.0.expect("connected");
    peer.shutdown(Shutdown::Write).expect("connected");
    let (mut position, mut room) = (0, 0);
    loop {
        room = room % 37 + 1;
        let (result, bytes) = stream.read(Vec::with_capacity(room)).await;
        let count = result.expect("no reset");
        if count == 0 {
            break;
        }
        check(position, &bytes[..count]);
        position += count;
    }
    assert_eq!(position, LEN);
}

async fn a_stream_that_ends_early_gives_what_came_before(_: Kernel) {
    let (stream, peer) = pair().await;
    peer.write_all(bytes_at(0, 90)).await.0.expect("connected");
    drop(peer);
    let (result, bytes) = stream.read_exact([0; 100]).await;
    let error = result.expect_err("ten are missing");
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<EndedEarly>());
    let inner = inner.expect("it says how much");
    assert_eq!((inner.got, inner.wanted), (90, 100));
    check(0, &bytes[..90]);
}

async fn a_read_without_room_takes_nothing(_: Kernel) {
    let (stream, peer) = pair().await;
    peer.write_all(bytes_at(0, 10)).await.0.expect("connected");
    let (result, _) = stream.read([0; 0]).await;
    assert_eq!(result.expect("no reset"), 0);
    let (result, _) = stream.read_exact([0; 0]).await;
    result.expect("nothing was asked for");
    let (result, bytes) = stream.read_exact([0; 10]).await;
    result.expect("they are all there");
    check(0, &bytes);
}

/// Small messages up to an offset, then as much as goes, then nothing for a while, then the rest.
async fn send_frame(peer: &TcpStream, position: &mut usize, offset: usize, bulk: usize) {
    let mut send = async |len: usize| {
        peer.write_all(bytes_at(*position, len)).await.0.expect("the peer reads");
        *position += len;
    };
    let mut left = offset;
    while left > 0 {
        let small = left.min(13);
        send(small).await;
        left -= small;
    }
    send(bulk).await;
    sleep(Duration::from_micros(300)).await;
    send(5).await;
}

async fn a_peer_may_change_its_traffic_at_any_byte(kernel: Kernel) {
    const OFFSETS: usize = 65;
    let bulk = kernel.count(40_000, 3_000);
    let (stream, peer) = pair().await;
    let write = async {
        let mut position = 0;
        for offset in 0..OFFSETS {
            send_frame(&peer, &mut position, offset, bulk).await;
        }
        peer.shutdown(Shutdown::Write).expect("connected");
        position
    };
    let read = async {
        let (mut position, mut sequence) = (0, Sequence::new(1));
        loop {
            let bytes = match sequence.below(3) {
                0 => stream.recv().await.expect("no reset").to_vec(),
                1 => stream.read(Vec::with_capacity(1 + sequence.below(900) as usize)).await.1,
                _ => stream.read_exact(Vec::with_capacity(1 + sequence.below(90) as usize)).await.1,
            };
            if bytes.is_empty() {
                break position;
            }
            check(position, &bytes);
            position += bytes.len();
        }
    };
    let (sent, received) = coronet::join!(write, read);
    assert_eq!(sent, received);
}
