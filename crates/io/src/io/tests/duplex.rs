//! Tests of the pipe in memory.

use std::io::ErrorKind;
use std::pin::pin;
use std::task::{Context, Waker};

use futures_util::join;

use super::{block_on, kind, poll_and_drop};
use crate::io::{AsyncRead, AsyncReadExt, AsyncRecv, AsyncWrite, duplex};

#[test]
fn bytes_pass_both_ways() {
    block_on(async {
        let (mut here, mut there) = duplex(16);
        here.write_all("ping").await.0.unwrap();
        assert_eq!(there.read_array().await.unwrap(), *b"ping");
        there.write_vectored_all(("po", "ng")).await.0.unwrap();
        assert_eq!(here.recv().await.unwrap(), b"pong");
    });
}

#[test]
fn a_write_waits_for_room_and_a_read_for_bytes() {
    for capacity in 1..8 {
        let (mut here, mut there) = duplex(capacity);
        let write = async move {
            here.write_all("hello, world").await.0.unwrap();
            here.flush().await.unwrap();
        };
        let read = there.read_to_end(Vec::new());
        let ((), (result, bytes)) = block_on(async { join!(write, read) });
        assert_eq!((result.unwrap(), &bytes[..]), (12, &b"hello, world"[..]));
    }
}

#[test]
fn a_write_completes_when_all_but_the_capacity_was_read() {
    let (mut here, mut there) = duplex(4);
    assert!(poll_and_drop(here.write("abcd")).is_some());
    assert!(poll_and_drop(here.write("e")).is_none());
    assert!(poll_and_drop(here.flush()).is_none());
    assert_eq!(block_on(there.read_array()).unwrap(), *b"a");
    assert!(poll_and_drop(here.flush()).is_some());
}

#[test]
fn a_dropped_write_is_carried_out_before_the_next() {
    let (mut here, mut there) = duplex(2);
    assert!(poll_and_drop(here.write("abc")).is_none());
    assert!(poll_and_drop(here.write("def")).is_none());
    drop(here.write("never polled"));
    drop(here);
    let (_, bytes) = block_on(there.read_to_end(Vec::new()));
    assert_eq!(bytes, b"abcdef");
}

#[test]
fn a_dropped_read_takes_nothing() {
    let (mut here, mut there) = duplex(8);
    assert!(poll_and_drop(there.read([0; 4])).is_none());
    assert!(poll_and_drop(there.recv()).is_none());
    block_on(here.write_all("abc")).0.unwrap();
    assert_eq!(block_on(there.recv()).unwrap(), b"abc");
}

#[test]
fn shutdown_closes_one_way_only() {
    block_on(async {
        let (mut here, mut there) = duplex(8);
        here.write_all("last").await.0.unwrap();
        here.shutdown().await.unwrap();
        here.shutdown().await.unwrap();
        assert_eq!(kind(here.write("more").await.0), Some(ErrorKind::BrokenPipe));
        let (_, bytes) = there.read_to_end(Vec::new()).await;
        assert_eq!(bytes, b"last");
        assert!(there.recv().await.unwrap().is_empty());
        there.write_all("answer").await.0.unwrap();
        assert_eq!(here.recv().await.unwrap(), b"answer");
    });
}

#[test]
fn dropping_one_end_breaks_the_writes_of_the_other_and_ends_its_reads() {
    block_on(async {
        let (mut here, there) = duplex(2);
        let write = async { here.write("abcd").await.0 };
        let (result, ()) = join!(write, async { drop(there) });
        assert_eq!(kind(result), Some(ErrorKind::BrokenPipe));
        assert_eq!(kind(here.write("e").await.0), Some(ErrorKind::BrokenPipe));
        assert!(here.recv().await.unwrap().is_empty());
    });
}

#[test]
fn a_second_reader_or_writer_is_an_error_and_a_dropped_one_is_not_in_the_way() {
    let (here, there) = duplex(1);
    let mut cx = Context::from_waker(Waker::noop());
    {
        let (mut reader, mut writer) = (&there, &here);
        let mut read = pin!(reader.recv());
        assert!(Future::poll(read.as_mut(), &mut cx).is_pending());
        assert_eq!(kind(block_on((&there).recv())), Some(ErrorKind::ResourceBusy));
        let mut write = pin!(writer.write("ab"));
        assert!(Future::poll(write.as_mut(), &mut cx).is_pending());
        let (result, buf) = block_on((&here).write("c"));
        assert_eq!((kind(result), buf), (Some(ErrorKind::ResourceBusy), "c"));
    }
    assert_eq!(block_on((&there).recv()).unwrap(), b"a");
    assert_eq!(block_on((&there).recv()).unwrap(), b"b");
    block_on((&here).write("d")).0.unwrap();
}

#[test]
fn without_room_a_read_answers_zero_at_once() {
    let (_here, mut there) = duplex(8);
    let (result, _) = block_on(there.read(Vec::new()));
    assert_eq!(result.unwrap(), 0);
}
