//! The driver alone, turned by hand: how it ends with work under way, and what it counts.

use std::time::Duration;

use coronet::ring::{Driver, MultiOp, OpStream, SharedFd, Stats, op};
use coronet::time::sleep;
use futures_util::StreamExt;
use futures_util::future::poll_immediate;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::handle;

pub(crate) const ALL: &[Promise] = &[
    promise!(a_driver_that_is_dropped_gives_back_everything_that_was_under_way),
    promise!(what_the_kernel_still_has_at_the_deadline_is_leaked_and_not_freed).every(5).leaks(1),
    promise!(a_driver_counts_each_operation_once),
];

const HOUR: Duration = Duration::from_secs(3_600);

fn hour() -> op::Timeout {
    op::Timeout::new(HOUR)
}

fn read(pipe: &SharedFd) -> op::ReadAt<Vec<u8>> {
    op::ReadAt::new(pipe.clone(), Vec::with_capacity(100), u64::MAX)
}

fn turn(driver: &Driver, times: usize) {
    for _ in 0..times {
        driver.turn(Some(Duration::ZERO)).expect("it goes on");
    }
}

/// True if the stream is over; it has to say so at once.
async fn is_over<O: MultiOp<Item = std::io::Result<u32>>>(stream: &mut OpStream<O>) -> bool {
    loop {
        match poll_immediate(stream.next()).await {
            Some(Some(Err(error))) => assert_eq!(error.raw_os_error(), Some(libc::ECANCELED), "{error}"),
            Some(Some(Ok(_))) => {}
            Some(None) => return true,
            None => return false,
        }
    }
}

async fn a_driver_that_is_dropped_gives_back_everything_that_was_under_way(kernel: Kernel) {
    for turns in 0..kernel.count(12, 4) {
        let driver = kernel.driver(&format!("other {turns}"));
        let can_poll_multi = driver.handle().capabilities().poll_multi;
        let (reader, writer) = kernel.pipe();
        let (reader, writer) = (SharedFd::new(reader), SharedFd::new(writer));
        let reads: Vec<_> = (0..3).map(|_| driver.handle().submit(read(&reader))).collect();
        let mut polls = can_poll_multi
            .then(|| driver.handle().submit_multi(op::PollMulti::new(reader.clone(), libc::POLLIN as u32)));
        let timers: Vec<_> = (0..20).map(|_| driver.handle().submit(hour())).collect();
        drop(driver.handle().submit(read(&reader)));
        turn(&driver, turns);
        drop(driver.handle().submit(hour()));
        drop(driver);
        for read in reads {
            let (result, room) = poll_immediate(read).await.expect("its driver has ended");
            let error = result.expect_err("nothing was written");
            assert!(matches!(error.raw_os_error(), Some(libc::ECANCELED | libc::EINTR)), "{error}");
            assert_eq!((room.len(), room.capacity()), (0, 100), "it comes back");
        }
        for timer in timers {
            let ended = poll_immediate(timer).await.expect("its driver has ended");
            assert_eq!(ended.expect_err("an hour").raw_os_error(), Some(libc::ECANCELED));
        }
        if let Some(polls) = &mut polls {
            assert!(is_over(polls).await, "its driver has ended");
        }
        drop(writer);
    }
}

/// The trap: the drain is shorter than the kernel takes to give up, and then bytes arrive.
async fn what_the_kernel_still_has_at_the_deadline_is_leaked_and_not_freed(kernel: Kernel) {
    let drain = match kernel {
        Kernel::Simulated => Duration::from_micros(50),
        // Linux gives a read of a pipe back at once; a drain that is too short would be a matter of luck.
        Kernel::Uring | Kernel::Epoll => Duration::from_secs(10),
    };
    let mut driver = kernel.driver("slow");
    let (reader, writer) = kernel.pipe();
    let mut receive = driver.handle().submit(read(&SharedFd::new(reader)));
    turn(&driver, 3);
    let leaked = driver.shut_down(drain);
    assert_eq!(driver.stats().leaked, leaked as u64);
    // The reader may be gone, or have it; what matters is where the kernel puts the bytes.
    let _ = handle().submit(op::WriteAt::new(SharedFd::new(writer), vec![7; 100], u64::MAX)).await;
    sleep(Duration::from_millis(2)).await;
    match poll_immediate(&mut receive).await {
        None => assert_eq!(leaked, 1, "it is neither over nor leaked"),
        Some((result, _)) => {
            assert_eq!(leaked, 0, "the kernel had it at the deadline");
            assert!(result.is_err(), "nothing was written before the end");
        }
    }
    adds_up(&driver.stats());
}

/// With all futures dropped or taken, but those of leaked operations.
#[track_caller]
fn adds_up(stats: &Stats) {
    assert_eq!(stats.submitted, stats.delivered + stats.orphaned + stats.leaked, "{stats:?}");
    assert_eq!((stats.faulted, stats.stale), (0, 0), "{stats:?}");
}

async fn a_driver_counts_each_operation_once(kernel: Kernel) {
    let mut driver = kernel.driver("counted");
    let short = |us| driver.handle().submit(op::Timeout::new(Duration::from_micros(us)));
    let (taken, dropped, left): (Vec<_>, Vec<_>, Vec<_>) = (
        (0..20).map(short).collect(),
        (0..20).map(short).collect(),
        (0..20).map(|_| short(1 << 40)).collect(),
    );
    let stats = driver.stats();
    assert_eq!((stats.submitted, stats.in_flight), (60, 60), "{stats:?}");
    drop(dropped);
    for mut timer in taken {
        while poll_immediate(&mut timer).await.is_none() {
            driver.turn(Some(Duration::from_millis(1))).expect("it goes on");
        }
    }
    let stats = driver.stats();
    assert_eq!((stats.delivered, stats.orphaned), (20, 20), "{stats:?}");
    assert_eq!(driver.shut_down(Duration::from_secs(10)), 0);
    for timer in left {
        assert!(poll_immediate(timer).await.expect("its driver has ended").is_err());
    }
    let stats = driver.stats();
    assert_eq!((stats.delivered, stats.orphaned, stats.in_flight), (40, 20, 0), "{stats:?}");
    adds_up(&stats);
}
