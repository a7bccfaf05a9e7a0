//! Tests of what is provided for every source and every sink.

use std::io::ErrorKind;

use super::{Sink, Source, Step, block_on, inside, kind};
use crate::buf::IoBufExt;
use crate::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, EndedEarly, InputTooLong};

#[test]
fn read_exact_fills_fixed_and_appending_buffers_from_short_reads() {
    block_on(async {
        let mut source = Source::slow(b"abcdefghijkl");
        let (result, bytes) = source.read_exact([0; 3]).await;
        assert_eq!((result.unwrap(), bytes), ((), *b"abc"));

        let mut buf = b"x".to_vec();
        buf.reserve_exact(7);
        let (result, slice) = source.read_exact(buf.slice(..5)).await;
        result.unwrap();
        assert_eq!(slice.into_inner(), b"xdefg");

        let (result, slice) = source.read_exact([b'.'; 6].slice(1..4)).await;
        result.unwrap();
        assert_eq!(slice.into_inner(), *b".hij..");

        let (result, _) = source.read_exact([]).await;
        result.unwrap();
        assert_eq!(source.read_array().await.unwrap(), *b"kl");
    });
}

#[test]
fn read_exact_says_how_much_there_was_when_the_input_ends() {
    let (result, bytes) = block_on(Source::slow(b"ab").read_exact([0; 3]));
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
    assert_eq!(inside::<EndedEarly>(&error), EndedEarly { got: 2, wanted: 3 });
    assert_eq!(bytes, *b"ab\0");
}

#[test]
fn read_exact_passes_an_error_on_with_what_was_read() {
    let mut source = Source::new([Step::Bytes(b"ab"), Step::Fail(ErrorKind::ConnectionReset)]);
    let (result, bytes) = block_on(source.read_exact(Vec::with_capacity(8)));
    assert_eq!(kind(result), Some(ErrorKind::ConnectionReset));
    assert_eq!(bytes, b"ab");
}

#[test]
fn read_to_end_appends_everything() {
    let (result, bytes) = block_on(Source::slow(b"abc").read_to_end(b"x".to_vec()));
    assert_eq!((result.unwrap(), &bytes[..]), (3, &b"xabc"[..]));

    static LONG: [u8; 20_000] = [7; 20_000];
    let mut source = Source::new([Step::Bytes(&LONG)]);
    let (result, bytes) = block_on(source.read_to_end(Vec::new()));
    assert_eq!((result.unwrap(), bytes), (20_000, LONG.to_vec()));
}

#[test]
fn read_to_end_accepts_the_limit_and_not_one_byte_more() {
    for limit in 0..6 {
        let mut source = Source::new([Step::Bytes(b"abcd"), Step::Bytes(b"e")]);
        let (result, bytes) = block_on(source.read_to_end_limited(b"x".to_vec(), limit));
        if limit >= 5 {
            assert_eq!((result.unwrap(), &bytes[..]), (5, &b"xabcde"[..]));
        } else {
            assert_eq!(inside::<InputTooLong>(&result.unwrap_err()), InputTooLong { limit });
            assert_eq!(bytes, b"xabcde"[..limit + 2]);
            let (_, rest) = block_on(source.read_to_end(Vec::new()));
            assert_eq!(rest, b"abcde"[limit + 1..], "taken from the source and not given back");
        }
    }
}

#[test]
fn take_ends_after_its_bytes_and_leaves_the_rest() {
    block_on(async {
        let mut source = Source::new([Step::Bytes(b"abcdef")]);
        let mut head = (&mut source).take(4);
        assert_eq!(head.read_array().await.unwrap(), *b"abc");
        assert_eq!(head.limit(), 1);
        let (result, bytes) = head.read_to_end(Vec::new()).await;
        assert_eq!((result.unwrap(), &bytes[..]), (1, &b"d"[..]));
        let (result, bytes) = source.read([0; 4]).await;
        assert_eq!((result.unwrap(), bytes), (2, *b"ef\0\0"));
    });
}

#[test]
fn chain_goes_on_with_the_second_source() {
    block_on(async {
        let mut both = Source::slow(b"ab").chain(Source::slow(b"cd"));
        let (result, _) = both.read([]).await;
        assert_eq!(result.unwrap(), 0, "no room, not the end");
        let (result, bytes) = both.read_to_end(Vec::new()).await;
        assert_eq!((result.unwrap(), &bytes[..]), (4, &b"abcd"[..]));
    });
}

/// The trap: a source that is asked again after its end may have more, as a terminal has.
#[test]
fn chain_does_not_ask_the_first_source_again_after_its_end() {
    let first = Source::new([Step::Bytes(b"a"), Step::Bytes(b""), Step::Bytes(b"late")]);
    let second = Source::slow(b"bc");
    let (result, bytes) = block_on(first.chain(second).read_to_end(Vec::new()));
    assert_eq!((result.unwrap(), &bytes[..]), (3, &b"abc"[..]));
}

#[test]
fn write_all_goes_on_after_short_writes() {
    block_on(async {
        let mut sink = Sink::new(2);
        sink.write_all("hello").await.0.unwrap();
        let (result, bufs) = sink.write_vectored_all((", ", b"wor".to_vec(), "", "ld")).await;
        result.unwrap();
        assert_eq!(bufs.1, b"wor");
        assert_eq!(sink.taken, b"hello, world");
    });
}

#[test]
fn write_all_gives_the_buffer_back_with_an_error() {
    block_on(async {
        let mut sink = Sink::new(2);
        sink.fails_after = Some(3);
        let (result, buf) = sink.write_all(b"hello".to_vec()).await;
        assert_eq!(kind(result), Some(ErrorKind::ConnectionReset));
        assert_eq!(buf, b"hello");
        assert_eq!(sink.taken, b"hel");
    });
}

#[test]
fn a_sink_that_takes_nothing_ends_write_all() {
    block_on(async {
        let mut sink = Sink::new(0);
        assert_eq!(kind(sink.write_all("a").await.0), Some(ErrorKind::WriteZero));
        assert_eq!(kind(sink.write_vectored_all(["a"]).await.0), Some(ErrorKind::WriteZero));
        let mut writer = sink.write_buffered();
        writer.write_all("a").await.0.unwrap();
        assert_eq!(kind(writer.flush().await), Some(ErrorKind::WriteZero));
        assert_eq!(writer.buffer(), b"a");
    });
}
