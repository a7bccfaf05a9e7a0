//! What Linux may do with a zero-copy send, the simulated kernel does under some seed; what Linux never does, under
//! none.

mod support;

use std::cell::Cell;
use std::collections::BTreeSet;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use coronet_ring::{Completion, Done, Driver, EarlyOp, OnDrop, Op, Request, SharedFd, Span};
use coronet_sim::Sim;
use support::{pair, wait};

const SEEDS: u64 = 300;

struct Lend {
    socket: Cell<Option<SharedFd>>,
    report: bool,
}

impl Op for Lend {
    type Output = Completion;

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        let socket = self.socket.get_mut().as_ref().expect("kept until the result").target();
        Request::SendZc {
            socket,
            from: Span::new(b"12345678"),
            flags: libc::MSG_WAITALL,
            report: self.report,
        }
    }

    fn give_up_descriptor(&self) -> Option<SharedFd> {
        self.socket.take()
    }

    fn finish(self, done: Done<Self>) -> Completion {
        *done
    }
}

fn lend(driver: &Driver, socket: &SharedFd, report: bool) -> EarlyOp<Lend> {
    driver.handle().submit(Lend { socket: Cell::new(Some(socket.clone())), report }).early()
}

fn result_of(driver: &Driver, send: &mut EarlyOp<Lend>) -> i32 {
    loop {
        if let Poll::Ready(done) = send.poll_result(&mut Context::from_waker(Waker::noop())) {
            return done.result;
        }
        driver.turn(Some(Duration::from_secs(20))).expect("it goes on");
    }
}

fn outcomes<T: Ord>(mut script: impl FnMut(&Driver) -> T) -> BTreeSet<T> {
    let run = |seed| script(&Sim::new(seed).driver("main").expect("a driver"));
    (0..SEEDS).map(run).collect()
}

#[test]
fn a_send_is_lent_copied_or_refused_and_a_refusal_may_be_notified() {
    for report in [false, true] {
        let ends = outcomes(|driver| {
            let done = wait(driver, lend(driver, &pair(driver).0, report));
            (done.result, done.is_notification(), done.was_copied())
        });
        let mut all =
            BTreeSet::from([(8, true, false), (-libc::ENOMEM, true, report), (-libc::ENOMEM, false, false)]);
        if report {
            all.insert((8, true, true));
        }
        assert_eq!(ends, all, "a copy is reported to whom asks for it");
    }
}

#[test]
fn notifications_come_at_once_or_late_and_in_any_order() {
    let orders = outcomes(|driver| {
        let (socket, _peer) = pair(driver);
        let mut sends: Vec<_> = (0..2).map(|_| lend(driver, &socket, false)).collect();
        let both_sent = sends.iter_mut().all(|send| result_of(driver, send) == 8);
        let at_once = sends.iter_mut().all(has_settled);
        if !both_sent || at_once {
            return (both_sent, None);
        }
        // Which one is back first.
        let mut first = None;
        while first.is_none() {
            driver.turn(Some(Duration::from_millis(1))).expect("it goes on");
            let back: Vec<_> = sends.iter_mut().map(has_settled).collect();
            first = back.iter().position(|is_back| *is_back);
        }
        (both_sent, first)
    });
    for outcome in [(true, Some(0)), (true, Some(1)), (false, None)] {
        assert!(orders.contains(&outcome), "{orders:?}");
    }
}

/// True once the notification has come.
fn has_settled(send: &mut EarlyOp<Lend>) -> bool {
    match send.poll_result(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(done) => !done.has_more(),
        Poll::Pending => false,
    }
}
