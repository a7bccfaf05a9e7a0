//! Executors for tests: one that waits for nothing but other threads, one with virtual time.

#![allow(dead_code, reason = "each test file uses some of it")]

use coronet_exec::{Clock, Config, Executor, ThreadPark, VirtualClock, VirtualPark};

/// An executor on real time.
pub(crate) fn executor() -> Executor {
    Executor::new(Box::new(ThreadPark::new()), Config::default())
}

/// An executor whose clock moves only when nobody can run.
pub(crate) fn virtual_executor() -> (Executor, VirtualClock) {
    let clock = VirtualClock::new();
    let mut config = Config::default();
    config.clock = Clock::Virtual(clock.clone());
    (Executor::new(Box::new(VirtualPark::new(clock.clone())), config), clock)
}
