//! Tests of copying, one way and both.

use std::io::{self, ErrorKind};

use futures_util::join;

use super::{Sink, Source, Step, block_on, kind, poll_and_drop};
use crate::buf::{BufResult, IoBuf};
use crate::io::{
    AsyncReadExt, AsyncWrite, AsyncWriteExt, copy, copy_bidirectional, copy_halves, copy_with, duplex,
    forward,
};

#[test]
fn copy_moves_everything_and_flushes() {
    for buffer_size in 1..6 {
        let mut sink = Sink::new(2);
        let count = block_on(copy_with(Source::slow(b"hello"), &mut sink, buffer_size));
        assert_eq!((count.unwrap(), &sink.taken[..]), (5, &b"hello"[..]));
        assert!(sink.flushes > 0);
    }
}

#[test]
fn copy_reports_the_error_of_either_side() {
    let source = Source::new([Step::Bytes(b"ab"), Step::Fail(ErrorKind::TimedOut)]);
    let mut sink = Sink::new(9);
    assert_eq!(kind(block_on(copy(source, &mut sink))), Some(ErrorKind::TimedOut));
    assert_eq!(sink.taken, b"ab");

    sink.fails_after = Some(4);
    let result = block_on(copy(Source::slow(b"cdefg"), &mut sink));
    assert_eq!(kind(result), Some(ErrorKind::ConnectionReset));
    assert_eq!(sink.taken, b"abcd");
}

/// The trap: the peer waits for a question that sits in a buffer while the copy waits for the
/// peer.
#[test]
fn copy_holds_nothing_back_while_it_waits_for_more() {
    block_on(async {
        let (mut client, client_side) = duplex(64);
        let (server_side, mut server) = duplex(64);
        let relay = copy(&client_side, (&server_side).write_buffered());
        let talk = async {
            client.write_all("question").await.0.unwrap();
            assert_eq!(server.read_array().await.unwrap(), *b"question");
            drop(client);
        };
        assert_eq!(join!(relay, talk).0.unwrap(), 8);
    });
}

#[test]
fn a_dropped_copy_leaves_no_byte_behind() {
    let (mut client, client_side) = duplex(64);
    let (server_side, mut server) = duplex(2);
    let mut expected = Vec::new();
    for n in 0..20 {
        let piece = format!("{n},");
        block_on(client.write_all(piece.clone())).0.unwrap();
        expected.extend(piece.into_bytes());
        assert!(poll_and_drop(copy_with(&client_side, &server_side, 2)).is_none());
    }
    drop(client);
    let finish = async {
        copy(&client_side, &server_side).await.unwrap();
        (&server_side).shutdown().await.unwrap();
    };
    let ((), (result, bytes)) = block_on(async { join!(finish, server.read_to_end(Vec::new())) });
    result.unwrap();
    assert_eq!(bytes, expected);
}

#[test]
fn forward_sends_chunks_as_they_are() {
    block_on(async {
        let (mut here, there) = duplex(64);
        here.write_all("abc").await.0.unwrap();
        drop(here);
        let mut sink = Sink::new(2);
        assert_eq!(forward(there, &mut sink).await.unwrap(), 3);
        assert_eq!((&sink.taken[..], sink.flushes), (&b"abc"[..], 1));
    });
}

#[test]
fn the_end_of_one_way_is_passed_on_and_the_way_back_goes_on() {
    for client_ends_first in [true, false] {
        block_on(async {
            let (mut client, client_side) = duplex(3);
            let (server_side, mut server) = duplex(3);
            let relay = copy_bidirectional(&client_side, &server_side);
            let (first, second) = match client_ends_first {
                true => (&mut client, &mut server),
                false => (&mut server, &mut client),
            };
            let talk = async {
                first.write_all("question").await.0.unwrap();
                first.shutdown().await.unwrap();
                first.read_to_end(Vec::new()).await.1
            };
            let answer = async {
                let (_, question) = second.read_to_end(Vec::new()).await;
                assert_eq!(question, b"question");
                // Only now, long after the end of the other way.
                second.write_all("a longer answer").await.0.unwrap();
                second.shutdown().await.unwrap();
            };
            let (counts, answer, ()) = join!(relay, talk, answer);
            assert_eq!(answer, b"a longer answer");
            let expected = if client_ends_first { (8, 15) } else { (15, 8) };
            assert_eq!(counts.unwrap(), expected);
        });
    }
}

#[test]
fn both_ways_flow_at_the_same_time() {
    block_on(async {
        let (client, client_side) = duplex(1);
        let (server_side, server) = duplex(1);
        let relay = copy_bidirectional(&client_side, &server_side);
        let up = async {
            (&client).write_all([b'u'; 300]).await.0.unwrap();
            (&client).shutdown().await.unwrap();
        };
        let down = async {
            (&server).write_all([b'd'; 500]).await.0.unwrap();
            (&server).shutdown().await.unwrap();
        };
        let (mut from_client, mut from_server) = (&client, &server);
        let at_client = from_client.read_to_end(Vec::new());
        let at_server = from_server.read_to_end(Vec::new());
        let (counts, (), (), (_, at_client), (_, at_server)) = join!(relay, up, down, at_client, at_server);
        assert_eq!(counts.unwrap(), (300, 500));
        assert_eq!((at_client, at_server), (vec![b'd'; 500], vec![b'u'; 300]));
    });
}

#[test]
fn an_error_ends_both_ways_and_comes_with_the_counts() {
    let up = Source::new([Step::Bytes(b"abc"), Step::Fail(ErrorKind::ConnectionReset)]);
    let (_open, down) = duplex(8);
    let (mut to_a, mut to_b) = (Sink::new(9), Sink::new(9));
    let result = block_on(copy_halves((up, &mut to_a), (&down, &mut to_b)));
    let error = result.unwrap_err();
    assert_eq!((error.a_to_b, error.b_to_a), (3, 0));
    assert_eq!(to_b.taken, b"abc");
    assert!(!to_a.has_ended && !to_b.has_ended);
    assert_eq!(io::Error::from(error).kind(), ErrorKind::ConnectionReset);
}

/// A sink whose peer is gone when it is to be told the end.
struct Gone(Sink);

impl AsyncWrite for Gone {
    async fn write<B: IoBuf>(&mut self, buf: B) -> BufResult<usize, B> {
        self.0.write(buf).await
    }

    async fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn shutdown(&mut self) -> io::Result<()> {
        Err(ErrorKind::NotConnected.into())
    }
}

#[test]
fn a_peer_that_is_gone_already_need_not_be_told_the_end() {
    let (a, b) = (Source::slow(b"ab"), Source::slow(b"c"));
    let (to_a, to_b) = (Gone(Sink::new(9)), Sink::new(9));
    let counts = block_on(copy_halves((a, to_a), (b, to_b)));
    assert_eq!(counts.unwrap(), (2, 1));
}

#[test]
#[should_panic = "nothing can be copied without a buffer"]
fn copy_without_a_buffer_panics() {
    let _ = block_on(copy_with(Source::slow(b""), Sink::new(1), 0));
}
