//! Signals, in a process of their own: they belong to the whole process.

#![cfg(not(loom))]

mod common;

use common::executor;
use coronet_exec::{signal, spawn};

fn raise(signal: rustix::process::Signal) {
    rustix::process::kill_process(rustix::process::getpid(), signal).unwrap();
}

#[test]
fn every_waiter_hears_of_a_signal_and_none_is_lost_between_two_awaits() {
    executor().block_on(async {
        let mut first = signal::hangup();
        let second = spawn(signal::hangup());
        let other = spawn(signal::terminate());
        coronet_exec::tasks::yield_now().await;
        raise(rustix::process::Signal::HUP);
        (&mut first).await.unwrap();
        second.await.unwrap().unwrap();
        raise(rustix::process::Signal::HUP);
        first.await.unwrap();
        assert!(!other.is_finished());
        raise(rustix::process::Signal::TERM);
        other.await.unwrap().unwrap();
        let own = spawn(signal::user2());
        coronet_exec::tasks::yield_now().await;
        raise(rustix::process::Signal::USR2);
        own.await.unwrap().unwrap();
    });
}
