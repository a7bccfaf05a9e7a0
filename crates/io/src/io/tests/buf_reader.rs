//! Tests of the reader that owns what it has read.

use std::io::ErrorKind;
use std::pin::pin;
use std::string::FromUtf8Error;

use futures_util::StreamExt;

use super::{Source, Step, block_on, call, inside, kind, poll_and_drop};
use crate::io::{
    AsyncBufRead, AsyncRead, AsyncReadExt, AsyncWrite, BufReader, EndedEarly, LineTooLong, duplex,
};

/// Every way to drop a call, or not, at each of its first eight waits.
fn every_drop() -> impl Iterator<Item = u32> {
    0..1 << 8
}

#[test]
fn read_until_dropped_at_any_await_loses_no_byte() {
    for drops in every_drop() {
        for capacity in 1..4 {
            let mut reader = BufReader::with_capacity(capacity, Source::slow(b"ab;cde;f"));
            assert_eq!(call!(drops, reader.read_until(b';', 8)).unwrap(), b"ab;");
            assert_eq!(call!(drops, reader.read_until(b';', 8)).unwrap(), b"cde;");
            assert_eq!(call!(drops, reader.read_until(b';', 8)).unwrap(), b"f");
            assert_eq!(call!(drops, reader.read_until(b';', 8)).unwrap(), b"");
        }
    }
}

#[test]
fn read_exact_dropped_at_any_await_loses_no_byte() {
    for drops in every_drop() {
        for capacity in 1..4 {
            let mut reader = BufReader::with_capacity(capacity, Source::slow(b"abcdefgh"));
            let (result, bytes) = call!(drops, reader.read_exact([0; 3]));
            assert_eq!((result.unwrap(), bytes), ((), *b"abc"));
            let (result, bytes) = call!(drops, reader.read_exact(Vec::with_capacity(4)));
            assert_eq!((result.unwrap(), &bytes[..]), ((), &b"defg"[..]));
            let (result, _) = call!(drops, reader.read_exact([0; 3]));
            let error = result.unwrap_err();
            assert_eq!(inside::<EndedEarly>(&error), EndedEarly { got: 1, wanted: 3 });
            assert_eq!(reader.buffer(), b"h");
        }
    }
}

#[test]
fn read_dropped_at_any_await_loses_no_byte() {
    for drops in every_drop() {
        for capacity in 1..4 {
            let mut reader = BufReader::with_capacity(capacity, Source::slow(b"abcdef"));
            let mut seen = Vec::new();
            loop {
                let (result, bytes) = call!(drops, reader.read(Vec::with_capacity(2)));
                if result.unwrap() == 0 {
                    break;
                }
                seen.extend(bytes);
            }
            assert_eq!(seen, b"abcdef");
        }
    }
}

#[test]
fn fill_and_next_line_dropped_at_any_await_lose_no_byte() {
    for drops in every_drop() {
        let mut reader = BufReader::with_capacity(2, Source::slow(b"ab\r\nc\n"));
        assert!(call!(drops, async { reader.fill(3).await.map(|bytes| bytes == b"ab\r") }).unwrap());
        assert_eq!(call!(drops, reader.next_line()).unwrap().as_deref(), Some("ab"));
        assert_eq!(call!(drops, reader.next_line()).unwrap().as_deref(), Some("c"));
        assert_eq!(call!(drops, reader.next_line()).unwrap(), None);
    }
}

#[test]
fn a_stream_of_lines_dropped_in_the_middle_of_a_line_leaves_it_in_the_reader() {
    let mut reader = BufReader::new(Source::slow(b"one\ntwo\nthree"));
    let mut seen = Vec::new();
    for _ in 0..100 {
        // Polled once for each stream: every wait of the source drops one.
        let mut lines = pin!(reader.lines());
        if let Some(Some(line)) = poll_and_drop(lines.next()) {
            seen.push(line.unwrap());
        }
    }
    assert_eq!(seen, ["one", "two", "three"]);
}

#[test]
fn lines_end_with_the_input_or_after_the_first_error() {
    let mut reader = BufReader::new(Source::slow(b"one\r\n\ntw\ro"));
    let lines = block_on(reader.lines().map(Result::unwrap).collect::<Vec<_>>());
    assert_eq!(lines, ["one", "", "tw\ro"]);

    let script = [Step::Bytes(b"one\ntw"), Step::Fail(ErrorKind::ConnectionReset), Step::Bytes(b"o\n")];
    let mut reader = BufReader::new(Source::new(script));
    let lines = block_on(reader.lines().map(kind).collect::<Vec<_>>());
    assert_eq!(lines, [None, Some(ErrorKind::ConnectionReset)]);
    assert_eq!(block_on(reader.next_line()).unwrap().as_deref(), Some("two"));
}

#[test]
fn the_input_may_end_in_the_middle_of_a_line() {
    block_on(async {
        let mut reader = BufReader::new(Source::slow(b"one\ntwo"));
        assert_eq!(reader.read_line().await.unwrap(), "one\n");
        assert_eq!(reader.read_line().await.unwrap(), "two");
        assert_eq!(reader.read_line().await.unwrap(), "");
        let mut reader = BufReader::new(Source::slow(b"one\r"));
        assert_eq!(reader.next_line().await.unwrap().as_deref(), Some("one\r"));
        assert_eq!(reader.next_line().await.unwrap(), None);
    });
}

#[test]
fn a_piece_may_be_as_long_as_the_limit_and_not_one_byte_longer() {
    for limit in 0..8 {
        for input in [Source::slow(b"abc;d"), Source::new([Step::Bytes(b"abc;d")])] {
            let mut reader = BufReader::new(input);
            let result = block_on(reader.read_until(b';', limit));
            if limit >= 4 {
                assert_eq!(result.unwrap(), b"abc;");
                continue;
            }
            let error = result.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidData);
            assert_eq!(inside::<LineTooLong>(&error), LineTooLong { limit });
            let again = block_on(reader.read_until(b';', limit)).unwrap_err();
            assert_eq!(inside::<LineTooLong>(&again), LineTooLong { limit });
            assert_eq!(block_on(reader.read_until(b';', 4)).unwrap(), b"abc;");
        }
    }
    let mut reader = BufReader::new(Source::slow(b"abcd"));
    assert_eq!(block_on(reader.read_until(b';', 4)).unwrap(), b"abcd");
}

#[test]
fn a_line_without_end_takes_no_more_memory_than_the_limit_and_one_read() {
    static ENDLESS: [u8; 100_000] = [b'x'; 100_000];
    let input = Source::new([Step::Bytes(&ENDLESS), Step::Bytes(b"\nnext\n")]);
    let mut reader = BufReader::with_capacity(16, input).with_line_max(1000);
    let error = block_on(reader.next_line()).unwrap_err();
    assert_eq!(inside::<LineTooLong>(&error).limit, 1000);
    assert!(reader.buffer().len() <= 1016, "held {}", reader.buffer().len());
    assert_eq!(block_on(reader.skip_until(b'\n')).unwrap(), 100_001);
    assert_eq!(block_on(reader.next_line()).unwrap().as_deref(), Some("next"));
    assert_eq!(block_on(reader.skip_until(b'\n')).unwrap(), 0);
}

#[test]
fn a_line_that_is_not_utf_8_is_given_back_and_the_next_follows() {
    let mut reader = BufReader::new(Source::slow(b"\xff\xfe\nnext\n"));
    let error = block_on(reader.next_line()).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    let inner = error.downcast::<FromUtf8Error>().unwrap();
    assert_eq!(inner.into_bytes(), b"\xff\xfe\n");
    assert_eq!(block_on(reader.next_line()).unwrap().as_deref(), Some("next"));
}

#[test]
fn an_error_of_the_source_leaves_what_was_read_before() {
    let script = [
        Step::Bytes(b"ab"),
        Step::Fail(ErrorKind::TimedOut),
        Step::Bytes(b"cd"),
        Step::Fail(ErrorKind::TimedOut),
    ];
    block_on(async {
        let mut reader = BufReader::new(Source::new(script));
        let (result, buf) = reader.read_exact([1; 4]).await;
        assert_eq!((kind(result), buf), (Some(ErrorKind::TimedOut), [1; 4]));
        assert_eq!(reader.read_array().await.unwrap(), *b"abcd");
        let (result, buf) = reader.read([1; 4]).await;
        assert_eq!((kind(result), buf), (Some(ErrorKind::TimedOut), [1; 4]));
    });
}

#[test]
fn bytes_read_ahead_are_shown_consumed_and_given_back() {
    block_on(async {
        let mut reader = BufReader::new(Source::new([Step::Bytes(b"abcdef")]));
        assert_eq!(reader.fill_buf().await.unwrap(), b"abcdef");
        reader.consume(2);
        assert_eq!(reader.fill_buf().await.unwrap(), b"cdef");
        assert_eq!(reader.read_array().await.unwrap(), *b"c");
        let (source, rest) = reader.into_parts();
        assert_eq!(rest, b"def");
        assert!(source.script.is_empty());
    });
}

#[test]
#[should_panic = "took 4 of 3 bytes"]
fn consuming_more_than_there_is_panics() {
    let mut reader = BufReader::new(Source::new([Step::Bytes(b"abc")]));
    block_on(reader.fill_buf()).unwrap();
    reader.consume(4);
}

#[test]
fn a_read_into_a_large_buffer_goes_straight_to_the_source() {
    block_on(async {
        let script = [Step::Bytes(b"abcd"), Step::Bytes(b"efgh")];
        let mut reader = BufReader::with_capacity(4, Source::new(script));
        assert_eq!(reader.read_array().await.unwrap(), *b"a");
        let (result, bytes) = reader.read([0; 6]).await;
        assert_eq!((result.unwrap(), bytes), (3, *b"bcd\0\0\0"));
        let (result, bytes) = reader.read([0; 6]).await;
        assert_eq!((result.unwrap(), bytes), (4, *b"efgh\0\0"));
        let (result, _) = reader.read([]).await;
        assert_eq!(result.unwrap(), 0);
    });
}

/// The trap: the bytes of a line arrive one by one, each after a reader that gave up.
#[test]
fn a_line_survives_a_reader_that_gives_up_after_every_byte() {
    let (mut here, there) = duplex(64);
    let mut reader = BufReader::new(there);
    for byte in b"patience" {
        assert!(poll_and_drop(reader.next_line()).is_none());
        block_on(here.write_all([*byte])).0.unwrap();
    }
    assert!(poll_and_drop(reader.next_line()).is_none());
    block_on(here.write_all("\n")).0.unwrap();
    let line = poll_and_drop(reader.next_line()).unwrap();
    assert_eq!(line.unwrap().as_deref(), Some("patience"));
}
