//! Files, at positions, and on their way to a socket.

use std::time::Duration;

use coronet::net::Shutdown;
use coronet::ring::{SharedFd, op};
use coronet::task::yield_now;
use coronet::time::timeout;
use futures_util::future::{join_all, poll_immediate};

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{Census, bytes_at, check, handle, pair, read_all as read_stream};

pub(crate) const ALL: &[Promise] = &[
    promise!(what_was_written_is_read_back),
    promise!(reads_at_many_positions_do_not_mix),
    promise!(a_write_that_is_dropped_runs_to_its_end),
    promise!(a_read_that_is_dropped_takes_nothing_from_the_next),
    promise!(behind_the_end_of_a_file_there_is_nothing),
    promise!(a_file_is_sent_between_writes_from_where_it_was_asked_for),
    promise!(of_a_file_that_is_shorter_all_is_sent),
    promise!(a_file_whose_sending_is_dropped_was_sent_up_to_some_byte_and_writes_come_behind_it),
    promise!(a_file_that_nobody_takes_is_an_error_and_no_signal),
];

async fn write_all(file: &SharedFd, at: usize, len: usize) {
    let mut done = 0;
    while done < len {
        let piece = bytes_at(at + done, len - done);
        let (result, _) = handle().submit(op::WriteAt::new(file.clone(), piece, (at + done) as u64)).await;
        done += result.expect("a disk");
    }
}

async fn read_all(file: &SharedFd, at: usize, len: usize) {
    let mut position = at;
    while position < at + len {
        let room = Vec::with_capacity(at + len - position);
        let (result, bytes) = handle().submit(op::ReadAt::new(file.clone(), room, position as u64)).await;
        assert!(result.expect("a disk") > 0, "the file ends at {position}");
        check(position, &bytes);
        position += bytes.len();
    }
}

async fn what_was_written_is_read_back(kernel: Kernel) {
    let len = kernel.count(1 << 20, 20_000);
    let file = SharedFd::new(kernel.file());
    for start in (0..len).step_by(3_333) {
        write_all(&file, start, (len - start).min(3_333)).await;
    }
    read_all(&file, 0, len).await;
}

async fn reads_at_many_positions_do_not_mix(kernel: Kernel) {
    let file = SharedFd::new(kernel.file());
    write_all(&file, 0, 10_000).await;
    join_all((0..20).map(|number| read_all(&file, number * 500, 500))).await;
}

async fn a_write_that_is_dropped_runs_to_its_end(kernel: Kernel) {
    let file = SharedFd::new(kernel.file());
    let censuses: [Census; 10] = Default::default();
    let mut expected = [0; 10];
    for (turns, census) in (0..).zip(&censuses) {
        let write = op::WriteAt::new(file.clone(), census.buffer(vec![turns as u8 + 1]), turns);
        let mut write = handle().submit(write);
        for _ in 0..turns {
            yield_now().await;
        }
        let is_over = poll_immediate(&mut write).await.is_some();
        drop(write);
        // One that still waited for room in the queue is gone at once, and was never sent.
        if is_over || census.alive() == 1 {
            expected[turns as usize] = turns as u8 + 1;
        }
    }
    while censuses.iter().any(|census| census.alive() > 0) {
        coronet::time::sleep(Duration::from_micros(100)).await;
    }
    let (result, bytes) = handle().submit(op::ReadAt::new(file.clone(), vec![], 0)).await;
    assert_eq!((result.expect("no room"), bytes.len()), (0, 0));
    for (at, expected) in expected.into_iter().enumerate() {
        let (result, bytes) = handle().submit(op::ReadAt::new(file.clone(), [0], at as u64)).await;
        // Behind the last byte that was written there is nothing, and before it there are zeros.
        assert!(result.expect("a disk") == 1 || expected == 0, "the write at {at} was lost");
        assert_eq!(bytes, [expected], "the write at {at} was cut short, or was never sent and arrived");
    }
}

async fn a_read_that_is_dropped_takes_nothing_from_the_next(kernel: Kernel) {
    let file = SharedFd::new(kernel.file());
    write_all(&file, 0, 4_000).await;
    for round in 0..20 {
        let read = handle().submit(op::ReadAt::new(file.clone(), Vec::with_capacity(4_000), 0));
        let _ = timeout(Duration::from_micros(round * 7), read).await;
    }
    read_all(&file, 0, 4_000).await;
}

async fn behind_the_end_of_a_file_there_is_nothing(kernel: Kernel) {
    let file = SharedFd::new(kernel.file());
    write_all(&file, 0, 10).await;
    let (result, bytes) = handle().submit(op::ReadAt::new(file.clone(), Vec::with_capacity(5), 10)).await;
    assert_eq!((result.expect("a disk"), bytes.len()), (0, 0));
}

async fn a_file_is_sent_between_writes_from_where_it_was_asked_for(kernel: Kernel) {
    let len = kernel.count(3 << 20, 20_000);
    let file = SharedFd::new(kernel.file());
    write_all(&file, 0, len).await;
    let (stream, peer) = pair().await;
    let (from, to) = (len / 7, len - len / 5);
    let send = async {
        stream.write_all(bytes_at(0, from)).await.0.expect("the peer reads");
        let sent = stream.send_file(&file, from as u64, (to - from) as u64).await.expect("the peer reads");
        assert_eq!(sent, (to - from) as u64);
        assert_eq!(stream.send_file(&file, 5, 0).await.expect("nothing"), 0);
        stream.write_all(bytes_at(to, len - to)).await.0.expect("the peer reads");
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(send, read_stream(&peer, 0));
    assert_eq!(read, len);
}

async fn of_a_file_that_is_shorter_all_is_sent(kernel: Kernel) {
    let len = kernel.count(300_000, 3_000);
    let file = SharedFd::new(kernel.file());
    write_all(&file, 0, len).await;
    let (stream, peer) = pair().await;
    let send = async {
        let sent = stream.send_file(&file, 0, 1 << 40).await.expect("the peer reads");
        assert_eq!(sent, len as u64);
        assert_eq!(stream.send_file(&file, len as u64, 10).await.expect("nothing"), 0);
        assert_eq!(stream.send_file(&file, 1 << 40, 10).await.expect("nothing"), 0);
        let error = stream.send_file(&file, u64::MAX, 10).await.expect_err("no such position");
        assert_eq!(error.kind(), std::io::ErrorKind::InvalidInput);
        stream.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(send, read_stream(&peer, 0));
    assert_eq!(read, len);
}

/// The trap: bytes that were on their way come later, or twice, or in the middle of the next write.
async fn a_file_whose_sending_is_dropped_was_sent_up_to_some_byte_and_writes_come_behind_it(kernel: Kernel) {
    const END: &[u8] = b"the end, which no file has";
    let len = kernel.count(16 << 20, 30_000);
    let file = SharedFd::new(kernel.file());
    write_all(&file, 0, len).await;
    for round in 0..kernel.count(8, 4) as u64 {
        let (stream, peer) = pair().await;
        let read = coronet::spawn(async move {
            let mut bytes = Vec::new();
            loop {
                let lease = peer.recv().await.expect("no reset");
                if lease.is_empty() {
                    return bytes;
                }
                bytes.extend_from_slice(&lease);
            }
        });
        let sending =
            timeout(Duration::from_micros(round * 300), stream.send_file(&file, 0, len as u64)).await;
        stream.write_all(END).await.0.expect("the peer reads");
        stream.shutdown(Shutdown::Write).expect("connected");
        let bytes = read.await.expect("no panic");
        let sent = bytes.strip_suffix(END).expect("behind all else");
        check(0, sent);
        if let Ok(said) = sending {
            assert_eq!(said.expect("the peer reads"), sent.len() as u64);
        }
    }
}

async fn a_file_that_nobody_takes_is_an_error_and_no_signal(kernel: Kernel) {
    let len = kernel.count(16 << 20, 200_000);
    let file = SharedFd::new(kernel.file());
    write_all(&file, 0, len).await;
    let (stream, peer) = pair().await;
    drop(peer);
    // Until the reset is here the kernel takes some.
    let error = loop {
        match stream.send_file(&file, 0, len as u64).await {
            Ok(_) => yield_now().await,
            Err(error) => break error,
        }
    };
    let is_gone = matches!(error.raw_os_error(), Some(32 | 104));
    assert!(is_gone, "{error:?}");
}
