//! Tests of the writer that gathers small writes.

use std::io::ErrorKind;
use std::pin::pin;

use super::{Sink, block_on, kind, poll_and_drop};
use crate::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufWriter, Duplex, duplex};

#[test]
fn small_writes_are_gathered_and_sent_when_they_do_not_fit() {
    block_on(async {
        let mut writer = BufWriter::with_capacity(4, Sink::new(usize::MAX));
        for piece in ["a", "bc", "d"] {
            assert_eq!(writer.write(piece).await.0.unwrap(), piece.len());
        }
        assert_eq!((writer.buffer(), &writer.get_ref().taken[..]), (&b"abcd"[..], &b""[..]));
        writer.write_all("e").await.0.unwrap();
        assert_eq!((writer.buffer(), &writer.get_ref().taken[..]), (&b"e"[..], &b"abcd"[..]));
        writer.write_all("large one").await.0.unwrap();
        assert_eq!(writer.get_ref().taken, b"abcdelarge one");
        writer.write_vectored_all(("v", "w")).await.0.unwrap();
        writer.write_vectored_all(("xyz", "1234")).await.0.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(writer.get_ref().taken, b"abcdelarge onevwxyz1234");
        assert_eq!(writer.get_ref().flushes, 1);
        writer.shutdown().await.unwrap();
        assert!(writer.get_ref().has_ended);
    });
}

#[test]
fn short_writes_below_lose_and_repeat_nothing() {
    block_on(async {
        for most in 1..5 {
            let mut writer = BufWriter::with_capacity(5, Sink::new(most));
            for n in 0..50 {
                writer.write_all(format!("{n},")).await.0.unwrap();
            }
            let sink = writer.into_inner().await.unwrap();
            let expected: String = (0..50).map(|n| format!("{n},")).collect();
            assert_eq!(String::from_utf8(sink.taken).unwrap(), expected);
        }
    });
}

#[test]
fn after_an_error_what_was_not_sent_is_still_there() {
    block_on(async {
        let mut sink = Sink::new(2);
        sink.fails_after = Some(3);
        let mut writer = BufWriter::with_capacity(6, sink);
        writer.write_all("abcdef").await.0.unwrap();
        let (result, buf) = writer.write_all("gh").await;
        assert_eq!((kind(result), buf), (Some(ErrorKind::ConnectionReset), "gh"));
        assert_eq!(writer.buffer(), b"def");
        writer.write_all("gh").await.0.unwrap();
        writer.flush().await.unwrap();
        assert_eq!(writer.get_ref().taken, b"abcdefgh");
    });
}

#[test]
fn into_inner_gives_the_writer_back_with_an_error() {
    block_on(async {
        let mut sink = Sink::new(2);
        sink.fails_after = Some(3);
        let mut writer = sink.write_buffered();
        writer.write_all("abcdef").await.0.unwrap();
        let (error, writer) = writer.into_inner().await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        let (sink, rest) = writer.into_parts();
        assert_eq!((&sink.taken[..], &rest[..]), (&b"abc"[..], &b"def"[..]));
    });
}

/// Polls `write` until it is ready, and reads one byte at the other end after each wait.
fn finish<F: Future>(write: F, there: &Duplex, arrived: &mut Vec<u8>) -> F::Output {
    let mut write = pin!(write);
    loop {
        if let Some(output) = poll_and_drop(write.as_mut()) {
            return output;
        }
        let (mut reader, room) = (there, Vec::with_capacity(1));
        let (result, byte) = block_on(reader.read_exact(room));
        result.unwrap();
        arrived.extend(byte);
    }
}

/// All that was accepted arrives, whole and in order; what a dropped call was given arrives
/// whole or not at all.
#[test]
fn a_write_dropped_at_any_await_loses_no_accepted_byte() {
    // Each begins with another letter, so that what arrived can be told apart.
    const PIECES: [&str; 8] = ["a", "bc", "def", "ghij", "klmno", "p", "qrs", "tu"];
    for capacity in 0..7 {
        for room in 1..5 {
            for drops in 0..1u32 << PIECES.len() {
                let (here, mut there) = duplex(room);
                let mut writer = BufWriter::with_capacity(capacity, here);
                let mut arrived = Vec::new();
                let mut is_accepted = [true; PIECES.len()];
                for (n, piece) in PIECES.into_iter().enumerate() {
                    let write = writer.write_all(piece);
                    if drops & (1 << n) == 0 {
                        finish(write, &there, &mut arrived).0.unwrap();
                    } else {
                        is_accepted[n] = poll_and_drop(write).is_some();
                    }
                }
                finish(writer.flush(), &there, &mut arrived).unwrap();
                drop(writer);
                arrived.extend(block_on(there.read_to_end(Vec::new())).1);

                let mut rest = &arrived[..];
                for (piece, is_accepted) in PIECES.into_iter().zip(is_accepted) {
                    match rest.strip_prefix(piece.as_bytes()) {
                        Some(behind) => rest = behind,
                        None => assert!(!is_accepted, "{piece} is missing in {arrived:?}"),
                    }
                }
                assert!(rest.is_empty(), "{rest:?} is not what was sent");
            }
        }
    }
}

#[test]
fn a_flush_dropped_at_its_await_is_finished_by_the_next() {
    let (here, mut there) = duplex(2);
    let mut writer = BufWriter::new(here);
    block_on(writer.write_all("abcdef")).0.unwrap();
    assert!(poll_and_drop(writer.flush()).is_none());
    assert!(poll_and_drop(writer.flush()).is_none());
    let (result, bytes) = block_on(there.read_exact([0; 4]));
    assert_eq!((result.unwrap(), bytes), ((), *b"abcd"));
    assert!(poll_and_drop(writer.flush()).is_some());
    block_on(writer.shutdown()).unwrap();
    let (_, bytes) = block_on(there.read_to_end(Vec::new()));
    assert_eq!(bytes, b"ef");
}
