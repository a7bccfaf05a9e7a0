//! Files, at positions.

use std::time::Duration;

use coronet::ring::{SharedFd, op};
use coronet::task::yield_now;
use coronet::time::timeout;
use futures_util::future::{join_all, poll_immediate};

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{Census, bytes_at, check, handle};

pub(crate) const ALL: &[Promise] = &[
    promise!(what_was_written_is_read_back),
    promise!(reads_at_many_positions_do_not_mix),
    promise!(a_write_that_is_dropped_runs_to_its_end),
    promise!(a_read_that_is_dropped_takes_nothing_from_the_next),
    promise!(behind_the_end_of_a_file_there_is_nothing),
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
