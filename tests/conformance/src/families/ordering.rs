//! Writes never change places, never mix, and one that fell short is told before new data.

use std::io::{self, ErrorKind};
use std::time::Duration;

use coronet::net::{Partial, Shutdown, TcpStream};
use coronet::ring::{SharedFd, op};
use coronet::time::{sleep, timeout};
use futures_util::future::poll_immediate;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{Sequence, bytes_at, handle, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(writes_that_are_dropped_arrive_whole_and_in_order),
    promise!(a_write_behind_a_dropped_one_waits_for_it),
    promise!(vectored_writes_that_are_dropped_arrive_whole_and_in_order),
    promise!(a_dropped_write_that_fell_short_is_told_once_before_new_data),
    promise!(a_second_writer_and_a_second_reader_are_refused_and_the_first_go_on),
    promise!(shutting_down_does_not_cut_a_dropped_write),
];

const HEADER: usize = 6;

/// Number and length, then bytes that belong to the number.
fn message(number: u16, len: usize) -> Vec<u8> {
    let mut bytes = number.to_le_bytes().to_vec();
    bytes.extend((len as u32).to_le_bytes());
    bytes.extend(bytes_at(usize::from(number), len));
    bytes
}

/// Reads messages to the end; their numbers. Each has to be whole.
async fn read_messages(stream: TcpStream, slowly: Duration) -> Vec<u16> {
    let (mut numbers, mut bytes) = (Vec::new(), Vec::new());
    loop {
        let more = stream.recv().await.expect("no reset");
        if more.is_empty() {
            assert!(bytes.is_empty(), "the last message is cut short");
            return numbers;
        }
        bytes.extend_from_slice(&more);
        drop(more);
        let mut start = 0;
        while let Some([n0, n1, l0, l1, l2, l3]) = bytes[start..].first_chunk::<HEADER>() {
            let number = u16::from_le_bytes([*n0, *n1]);
            let len = u32::from_le_bytes([*l0, *l1, *l2, *l3]) as usize;
            assert!(len < 1 << 20, "a message is torn: {len} bytes");
            let Some(body) = bytes[start + HEADER..].get(..len) else { break };
            assert!(body == bytes_at(usize::from(number), len), "message {number} is torn");
            numbers.push(number);
            start += HEADER + len;
        }
        bytes.drain(..start);
        sleep(slowly).await;
    }
}

async fn writes_that_are_dropped_arrive_whole_and_in_order(kernel: Kernel) {
    let (count, len_max) = (kernel.count(2_000, 60) as u16, kernel.count(40_000, 9_000) as u64);
    let (stream, peer) = pair().await;
    let reader = coronet::spawn(read_messages(peer, Duration::from_micros(30)));
    let mut sequence = Sequence::new(4);
    // Whether the message has to arrive: if nothing was under way, the first poll sends it.
    let (mut must_arrive, mut is_idle) = (Vec::new(), true);
    for number in 0..count {
        let message = message(number, sequence.below(len_max) as usize);
        let limit = Duration::from_micros(sequence.below(60));
        let written = timeout(limit, stream.write_all(message)).await;
        must_arrive.push(is_idle || written.is_ok());
        is_idle = written.is_ok();
        if let Ok((result, _)) = written {
            result.expect("the peer reads");
        } else if sequence.below(3) == 0 {
            stream.flush().await.expect("a dropped write is sent whole");
            is_idle = true;
        }
    }
    stream.close().await.expect("all was sent");
    let arrived = reader.await.expect("no message is torn");
    assert!(arrived.is_sorted_by(|a, b| a < b), "messages changed places, or came twice");
    let mut arrived = arrived.into_iter().peekable();
    for (number, must_arrive) in must_arrive.into_iter().enumerate() {
        let is_here = arrived.next_if_eq(&(number as u16)).is_some();
        assert!(is_here || !must_arrive, "message {number} did not arrive");
    }
}

async fn a_write_behind_a_dropped_one_waits_for_it(kernel: Kernel) {
    let len = kernel.count(4 << 20, 300_000);
    let (stream, peer) = pair().await;
    assert!(poll_immediate(stream.write_all(bytes_at(0, len))).await.is_none(), "it takes a while");
    let write = async {
        stream.write_all(bytes_at(len, 5_000)).await.0.expect("the peer reads");
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(read, len + 5_000);
}

async fn vectored_writes_that_are_dropped_arrive_whole_and_in_order(kernel: Kernel) {
    let count = kernel.count(500, 30) as u16;
    let (stream, peer) = pair().await;
    let reader = coronet::spawn(read_messages(peer, Duration::from_micros(30)));
    for number in 0..count {
        let message = message(number, 3_000 + usize::from(number));
        let parts: Vec<_> = message.chunks(700).map(<[u8]>::to_vec).collect();
        if number % 2 == 0 {
            stream.flush().await.expect("a dropped write is sent whole");
            let _ = poll_immediate(stream.write_vectored(parts)).await;
        } else {
            stream.write_vectored_all(parts).await.0.expect("the peer reads");
        }
    }
    stream.close().await.expect("all was sent");
    assert_eq!(reader.await.expect("no message is torn"), (0..count).collect::<Vec<_>>());
}

fn partial_in(error: &io::Error) -> Option<Partial> {
    error.get_ref()?.downcast_ref().copied()
}

async fn a_dropped_write_that_fell_short_is_told_once_before_new_data(kernel: Kernel) {
    let len = kernel.count(64 << 20, 2 << 20);
    let (stream, peer) = pair().await;
    assert!(poll_immediate(stream.write(vec![7; len])).await.is_none(), "it does not fit");
    // By hand: a stream receives ahead, and a multishot whose cancel comes late may take all of it.
    peer.set_linger(Some(Duration::ZERO)).expect("a socket");
    let peer = SharedFd::new(peer.into_std().expect("it was never read").into());
    let mut received = 0;
    while received < 1_000 {
        let receive = op::Recv::new(peer.clone(), Vec::with_capacity(1_000), 0);
        received += handle().submit(receive).await.0.expect("it is being sent");
    }
    drop(peer);
    let (result, buf) = stream.write("new").await;
    let error = result.expect_err("the earlier one fell short");
    assert_eq!(buf, "new", "it comes back");
    assert_eq!(error.kind(), ErrorKind::WriteZero, "{error}");
    let partial = partial_in(&error).expect("it says how much");
    assert!(partial.of == len && (1_000..len).contains(&partial.sent), "{partial:?}");
    let error = stream.write("new").await.0.expect_err("the connection is gone");
    assert!(partial_in(&error).is_none(), "it is told once: {error}");
}

async fn a_second_writer_and_a_second_reader_are_refused_and_the_first_go_on(kernel: Kernel) {
    let len = kernel.count(24 << 20, 1 << 20);
    let (stream, peer) = pair().await;
    {
        let mut first = std::pin::pin!(stream.recv());
        assert!(poll_immediate(first.as_mut()).await.is_none(), "nothing was sent");
        assert_eq!(stream.recv().await.expect_err("one at a time").kind(), ErrorKind::ResourceBusy);
        peer.write_all("x").await.0.expect("connected");
        assert_eq!(&*first.await.expect("no reset"), b"x");
    }
    let mut first = std::pin::pin!(stream.write_all(bytes_at(0, len)));
    assert!(poll_immediate(first.as_mut()).await.is_none(), "it does not fit");
    let (result, buf) = stream.write("second").await;
    assert_eq!((result.expect_err("one at a time").kind(), buf), (ErrorKind::ResourceBusy, "second"));
    let write = async {
        first.await.0.expect("the peer reads");
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&peer, 0));
    assert_eq!(read, len);
}

async fn shutting_down_does_not_cut_a_dropped_write(kernel: Kernel) {
    let len = kernel.count(24 << 20, 1 << 20);
    let (stream, peer) = pair().await;
    assert!(poll_immediate(stream.write_all(bytes_at(0, len))).await.is_none(), "it does not fit");
    let error = stream.shutdown(Shutdown::Write).expect_err("it would be cut");
    assert_eq!(error.kind(), ErrorKind::ResourceBusy);
    let end = async {
        stream.flush().await.expect("the peer reads");
        stream.shutdown(Shutdown::Write).expect("nothing is under way");
    };
    let ((), read) = coronet::join!(end, read_all(&peer, 0));
    assert_eq!(read, len);
}
