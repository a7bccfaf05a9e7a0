//! A TCP stream on the real kernel: ends, errors, bounds, and who may hold what.

mod support;

use std::io::{self, ErrorKind, Read, Write};
use std::net::TcpStream as StdStream;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use coronet::io::{AsyncRecv, AsyncWrite, BufWriter};
use coronet::metrics;
use coronet::net::{Partial, Shutdown, TcpListener, TcpStream, lookup_host};
use coronet::task::yield_now;
use coronet::time::timeout;
use futures_util::future::poll_immediate;
use signal_hook::consts::SIGPIPE;
use support::{Pattern, beside, hang, pair, reset, settle, world};

/// More than two sockets hold, however far the kernel lets their buffers grow.
const TOO_MUCH: usize = 64 << 20;

fn partial_in(error: &io::Error) -> Option<Partial> {
    error.get_ref()?.downcast_ref().copied()
}

#[test]
fn each_direction_ends_on_its_own() {
    world(async {
        let (stream, mut peer) = pair();
        peer.shutdown(Shutdown::Write).unwrap();
        assert!(stream.recv().await.unwrap().is_empty());
        assert!(stream.recv().await.unwrap().is_empty(), "the end of the stream ever after");
        stream.write_all("still open").await.0.unwrap();
        let mut heard = [0; 10];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"still open");

        let (stream, mut peer) = pair();
        stream.shutdown(Shutdown::Write).unwrap();
        assert_eq!(peer.read(&mut [0; 1]).unwrap(), 0);
        peer.write_all(b"still open").unwrap();
        assert_eq!(&*stream.recv().await.unwrap(), b"still open");
        let error = stream.write_all("x").await.0.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
    });
}

#[test]
fn a_reset_is_an_error_once_and_the_end_ever_after() {
    world(async {
        let (stream, peer) = pair();
        reset(peer);
        assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
        for _ in 0..3 {
            assert!(stream.recv().await.unwrap().is_empty());
        }
        let (result, buf) = stream.read_exact(Vec::with_capacity(4)).await;
        assert_eq!((result.unwrap_err().kind(), buf.len()), (ErrorKind::UnexpectedEof, 0));
    });
}

/// The trap: bytes that came before the reset are not to be lost with it.
#[test]
fn bytes_that_were_received_before_a_reset_are_read_first() {
    world(async {
        let (stream, mut peer) = pair();
        peer.write_all(b"early").unwrap();
        assert!(poll_immediate(stream.read_exact(Vec::with_capacity(64))).await.is_none());
        // Until the kernel has handed them over: a reset empties its own queue.
        let mut received = Vec::new();
        while received.len() < 5 {
            received.extend_from_slice(&stream.recv().await.unwrap());
        }
        reset(peer);
        assert_eq!(received, b"early");
        assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ConnectionReset);
    });
}

#[test]
fn a_second_reader_and_a_second_writer_are_refused_and_the_first_go_on() {
    world(async {
        let (stream, mut peer) = pair();
        {
            let mut first = pin!(stream.recv());
            assert!(poll_immediate(first.as_mut()).await.is_none());
            assert_eq!(stream.recv().await.unwrap_err().kind(), ErrorKind::ResourceBusy);
            let (result, buf) = stream.read_exact(vec![1; 3]).await;
            assert_eq!((result.unwrap_err().kind(), buf), (ErrorKind::ResourceBusy, vec![1; 3]));
            peer.write_all(b"first").unwrap();
            assert_eq!(&*first.await.unwrap(), b"first");
        }
        {
            let mut first = pin!(stream.write_all(vec![7; TOO_MUCH]));
            assert!(poll_immediate(first.as_mut()).await.is_none());
            let (result, buf) = stream.write("second").await;
            let error = result.unwrap_err();
            assert_eq!((error.kind(), buf), (ErrorKind::ResourceBusy, "second"));
            assert!(error.to_string().contains("one at a time"), "{error}");
            assert_eq!(stream.flush().await.unwrap_err().kind(), ErrorKind::ResourceBusy);
            let reader = beside(move || peer.read_exact(&mut vec![0; TOO_MUCH]).map(|()| peer));
            let (result, peer) = futures_util::join!(first, reader);
            result.0.unwrap();
            drop(peer);
        }
        // Dropped, they leave the turn to others.
        let _ = poll_immediate(stream.recv()).await;
        stream.recv().await.unwrap();
    });
}

#[test]
fn a_dropped_write_that_fell_short_is_told_once_before_new_data() {
    world(async {
        let (stream, mut peer) = pair();
        assert!(poll_immediate(stream.write(vec![7; TOO_MUCH])).await.is_none());
        let error = stream.shutdown(Shutdown::Write).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ResourceBusy, "it would be cut");
        // Beside the core, which has to hand the write over first.
        beside(move || peer.read_exact(&mut [0; 1000]).map(|()| reset(peer))).await.unwrap();
        let (result, buf) = stream.write("new").await;
        let error = result.unwrap_err();
        assert_eq!((error.kind(), buf), (ErrorKind::WriteZero, "new"), "{error}");
        let partial = partial_in(&error).expect("it says how much");
        assert!(partial.of == TOO_MUCH && (1000..TOO_MUCH).contains(&partial.sent), "{partial:?}");
        let error = stream.write("new").await.0.unwrap_err();
        assert!(partial_in(&error).is_none(), "once: {error}");
    });
}

#[test]
fn writing_to_a_peer_that_is_gone_is_an_error_and_no_signal() {
    world(async {
        let signalled = Arc::new(AtomicBool::new(false));
        let watch = signal_hook::flag::register(SIGPIPE, signalled.clone()).unwrap();
        let (stream, peer) = pair();
        drop(peer);
        let first = stream.write_all("it finds out").await.0;
        let second = stream.write_all("and knows").await.0;
        let third = stream.write_vectored(["and", "still knows"]).await.0;
        signal_hook::low_level::unregister(watch);
        assert!(first.is_ok(), "{first:?}");
        for error in [second.unwrap_err(), third.unwrap_err()] {
            assert_eq!(error.kind(), ErrorKind::BrokenPipe, "{error}");
        }
        assert!(!signalled.load(Ordering::Relaxed), "SIGPIPE");
    });
}

#[test]
fn two_thousand_buffers_go_as_one() {
    world(async {
        let (stream, mut peer) = pair();
        let pattern = Pattern::new();
        let mut bufs = Vec::new();
        let mut total = 0;
        for len in (0..2_000).map(|number| number % 97) {
            bufs.push(pattern.at(total, len).to_vec());
            total += len as u64;
        }
        let (result, bufs) = stream.write_vectored_all(bufs).await;
        result.unwrap();
        assert_eq!(bufs.len(), 2_000, "they come back");
        let mut bytes = vec![0; total as usize];
        peer.read_exact(&mut bytes).unwrap();
        pattern.check(0, &bytes);
        let (count, _) = stream.write_vectored(vec![[1u8; 2]; 2_000]).await;
        assert_eq!(count.unwrap(), 2 * 1024, "1,024 at once");
        assert_eq!(stream.write_vectored([Vec::new(), Vec::<u8>::new()]).await.0.unwrap(), 0);
    });
}

/// Writes `len` bytes of the pattern and ends its direction.
fn send_pattern(mut peer: StdStream, len: usize) {
    let pattern = Pattern::new();
    let mut position = 0;
    while position < len {
        let piece = (len - position).min(100_003);
        peer.write_all(pattern.at(position as u64, piece)).unwrap();
        position += piece;
    }
    peer.shutdown(Shutdown::Write).unwrap();
}

/// Reads the pattern to the end; how much it was.
fn take_pattern(mut peer: StdStream) -> usize {
    let (pattern, mut piece, mut position) = (Pattern::new(), vec![0; 200_003], 0);
    loop {
        let count = peer.read(&mut piece).unwrap();
        if count == 0 {
            return position;
        }
        pattern.check(position as u64, &piece[..count]);
        position += count;
    }
}

#[test]
fn both_directions_carry_64_mib_at_once_in_tasks_of_their_own() {
    world(async {
        let (stream, peer) = pair();
        let to_peer = peer.try_clone().unwrap();
        let sender = coronet::task::spawn_blocking(move || send_pattern(peer, TOO_MUCH));
        let taker = coronet::task::spawn_blocking(move || take_pattern(to_peer));
        let (mut read, mut write) = stream.into_split();
        let reader = coronet::spawn(async move {
            let (pattern, mut position) = (Pattern::new(), 0);
            loop {
                let bytes = read.recv().await.unwrap();
                if bytes.is_empty() {
                    break (read, position);
                }
                pattern.check(position, &bytes);
                position += bytes.len() as u64;
            }
        });
        let writer = coronet::spawn(async move {
            let (pattern, mut position) = (Pattern::new(), 0);
            while position < TOO_MUCH {
                let piece = (TOO_MUCH - position).min(300_007);
                let bytes = pattern.at(position as u64, piece).to_vec();
                write.write_all(bytes).await.0.unwrap();
                position += piece;
            }
            write.shutdown().await.unwrap();
            write
        });
        let ((read, received), write) = (reader.await.unwrap(), writer.await.unwrap());
        assert_eq!(received, TOO_MUCH as u64);
        assert_eq!(taker.await.unwrap(), TOO_MUCH);
        sender.await.unwrap();
        read.reunite(write).unwrap();
    });
}

#[test]
fn a_slow_reader_bounds_what_is_held_for_it_and_loses_nothing() {
    world(async {
        let (stream, mut peer) = pair();
        let group_buffers = 64;
        peer.write_all(b"!").unwrap();
        assert_eq!(&*stream.recv().await.unwrap(), b"!");
        // It ends when nothing is taken for 300 ms: by then all that is held is full.
        let (peer, sent) = beside(move || {
            peer.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
            let (pattern, mut sent) = (Pattern::new(), 0);
            while let Ok(count) = peer.write(pattern.at(sent, 100_003)) {
                sent += count as u64;
            }
            (peer, sent)
        })
        .await;
        assert!(sent < TOO_MUCH as u64, "{sent} bytes were taken and nobody read");
        assert!(metrics().leased <= group_buffers, "{:?}", metrics());
        // Others are served meanwhile.
        let (other, mut peer_of_other) = pair();
        peer_of_other.write_all(b"hi").unwrap();
        assert_eq!(&*timeout(hang(), other.recv()).await.unwrap().unwrap(), b"hi");
        drop(peer);
        let (pattern, mut position) = (Pattern::new(), 0);
        loop {
            let bytes = stream.recv().await.unwrap();
            if bytes.is_empty() {
                break;
            }
            pattern.check(position, &bytes);
            position += bytes.len() as u64;
        }
        assert_eq!(position, sent);
    });
}

/// The trap: the one who waits for a buffer is the one whose answer would free it.
#[test]
fn one_who_holds_every_pooled_buffer_starves_neither_others_nor_itself() {
    world(async {
        if !support::receives_are_pooled() {
            return;
        }
        let (hoarder, mut peer) = pair();
        let mut hoard = Vec::new();
        let mut held = 0;
        let (mut hoarded, mut position) = (0, 0);
        let pattern = Pattern::new();
        // On, until more bytes bring no more pooled buffers: they are all held.
        while hoard.len() < 64 || metrics().leased > hoarded {
            hoarded = metrics().leased;
            for _ in 0..8 {
                peer.write_all(pattern.at(position, 60_000)).unwrap();
                position += 60_000;
                while held < position {
                    let lease = timeout(hang(), hoarder.recv()).await.expect("it starves itself").unwrap();
                    held += lease.len() as u64;
                    hoard.push(lease);
                }
            }
        }
        assert!(metrics().leased > 0, "{:?}", metrics());
        for _ in 0..20 {
            let (other, mut peer) = pair();
            for _ in 0..20 {
                peer.write_all(b"hi").unwrap();
                let bytes = timeout(hang(), other.recv()).await.expect("it starves others").unwrap();
                assert_eq!(&*bytes, b"hi");
            }
        }
        let mut position = 0;
        for lease in hoard.drain(..) {
            pattern.check(position, &lease);
            position += lease.len() as u64;
        }
        drop(hoarder);
        settle().await;
        assert_eq!(metrics().leased, 0);
    });
}

#[test]
fn a_stream_goes_back_to_the_standard_library_unless_bytes_would_be_lost() {
    world(async {
        let (stream, mut peer) = pair();
        stream.write_all("by the ring").await.0.unwrap();
        let mut blocking = stream.into_std().unwrap();
        blocking.write_all(b", by hand").unwrap();
        let mut heard = [0; 20];
        peer.read_exact(&mut heard).unwrap();
        assert_eq!(&heard, b"by the ring, by hand");

        let stream = TcpStream::from(blocking);
        assert!(poll_immediate(stream.recv()).await.is_none());
        let error = stream.into_std().unwrap_err();
        assert!(error.to_string().contains("bytes would be lost"), "{error}");
        // As it was, and usable.
        peer.write_all(b"kept").unwrap();
        assert_eq!(&*error.stream.recv().await.unwrap(), b"kept");
        drop(peer);
        assert!(error.stream.recv().await.unwrap().is_empty());
        assert!(error.stream.into_std().is_ok(), "the end was read: nothing can be lost");
    });
}

#[test]
fn halves_of_one_stream_reunite_and_those_of_two_do_not() {
    world(async {
        let ((one, mut peer), (two, _peer_of_two)) = (pair(), pair());
        let (read_one, write_one) = one.into_split();
        let (read_two, write_two) = two.into_split();
        let coronet::net::ReuniteError(read_one, write_two) = read_one.reunite(write_two).unwrap_err();
        let one = read_one.reunite(write_one).unwrap();
        one.write_all("open in both directions").await.0.unwrap();
        let mut heard = [0; 23];
        peer.read_exact(&mut heard).unwrap();
        let (read_one, write_one) = one.into_split();
        drop(write_one);
        assert_eq!(peer.read(&mut heard).unwrap(), 0, "dropping the half ends its direction");
        peer.write_all(b"x").unwrap();
        assert_eq!(&*read_one.stream().recv().await.unwrap(), b"x");
        drop((read_two, write_two));
    });
}

#[test]
fn closing_hands_over_what_a_dropped_write_has_left() {
    world(async {
        let (stream, peer) = pair();
        assert!(poll_immediate(stream.recv()).await.is_none());
        let bytes = Pattern::new().at(0, 1 << 20).to_vec();
        let _ = poll_immediate(stream.write_all(bytes)).await;
        let taker = coronet::task::spawn_blocking(move || take_pattern(peer));
        stream.close().await.unwrap();
        assert_eq!(taker.await.unwrap(), 1 << 20);

        let (stream, mut peer) = pair();
        assert!(poll_immediate(stream.write_all(vec![7; TOO_MUCH])).await.is_none());
        beside(move || peer.read_exact(&mut [0; 1000]).map(|()| reset(peer))).await.unwrap();
        let error = stream.close().await.unwrap_err();
        assert!(partial_in(&error).is_some(), "it says that it failed: {error}");
    });
}

/// The trap: the second flush waits behind the first; had it lent its bytes, they would go with it.
#[test]
fn a_buffered_writer_keeps_what_waits_behind_a_dropped_flush() {
    const PIECE: usize = 1 << 20;
    world(async {
        let (stream, peer) = pair();
        let mut writer = BufWriter::with_capacity(TOO_MUCH, &stream);
        let pattern = Pattern::new();
        let mut written = 0;
        while written < TOO_MUCH {
            writer.write_all(pattern.at(written as u64, PIECE).to_vec()).await.0.unwrap();
            written += PIECE;
        }
        assert!(poll_immediate(writer.flush()).await.is_none(), "the peer takes nothing yet");
        writer.write_all(pattern.at(written as u64, 1000).to_vec()).await.0.unwrap();
        assert!(poll_immediate(writer.flush()).await.is_none(), "behind the first");
        assert_eq!(writer.buffer().len(), 1000, "not lent yet");
        let taker = coronet::task::spawn_blocking(move || take_pattern(peer));
        writer.shutdown().await.unwrap();
        assert_eq!(taker.await.unwrap(), written + 1000);
    });
}

#[test]
fn dropping_a_stream_goes_on_with_its_dropped_write() {
    world(async {
        let (stream, peer) = pair();
        let bytes = Pattern::new().at(0, 1 << 20).to_vec();
        let _ = poll_immediate(stream.write_all(bytes)).await;
        drop(stream);
        assert_eq!(beside(move || take_pattern(peer)).await, 1 << 20);
    });
}

#[test]
fn connect_looks_names_up_and_names_the_address_that_refused() {
    world(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let name = format!("localhost:{port}");
        let (client, accepted) = futures_util::join!(TcpStream::connect(&name), listener.accept());
        let (server, peer) = accepted.unwrap();
        assert_eq!(client.unwrap().local_addr().unwrap(), peer);
        drop((server, listener));

        settle().await;
        let error = TcpStream::connect(("127.0.0.1", port)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
        assert!(error.to_string().contains(&format!("connect to 127.0.0.1:{port}")), "{error}");
        let error = TcpStream::connect(&name).await.unwrap_err();
        assert!(error.to_string().contains(&format!(":{port}")), "{error}");
        let error = lookup_host("no-such-host.invalid:1").await.unwrap_err();
        assert!(error.to_string().contains("no-such-host.invalid"), "{error}");
        let error = TcpStream::connect("nonsense").await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    });
}

#[test]
fn one_stream_may_be_shared_by_a_reading_and_a_writing_task() {
    world(async {
        let (stream, mut peer) = pair();
        let stream = Rc::new(stream);
        let reader = stream.clone();
        let reader = coronet::spawn(async move { reader.recv().await.map(|bytes| bytes.to_vec()) });
        yield_now().await;
        stream.write_all("ping").await.0.unwrap();
        let mut heard = [0; 4];
        peer.read_exact(&mut heard).unwrap();
        peer.write_all(b"pong").unwrap();
        assert_eq!(reader.await.unwrap().unwrap(), b"pong");
    });
}
