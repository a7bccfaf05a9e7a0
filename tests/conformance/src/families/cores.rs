//! Wakes from other threads. The simulation knows one thread only, so these need a real kernel.

use std::time::Duration;

use coronet::sync::cross::oneshot;
use coronet::time::timeout;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};

pub(crate) const ALL: &[Promise] = &[
    promise!(a_wake_from_another_thread_is_not_lost).real_only(),
    promise!(a_value_from_another_thread_wakes_the_one_who_waits).real_only(),
];

/// Far more than a thread of the pool needs.
const PATIENCE: Duration = Duration::from_secs(20);

async fn a_wake_from_another_thread_is_not_lost(_: Kernel) {
    for round in 0..2_000_u32 {
        let blocking = coronet::task::spawn_blocking(move || round * 2);
        let output = timeout(PATIENCE, blocking).await.expect("the wake was lost");
        assert_eq!(output.expect("no panic"), round * 2);
    }
}

async fn a_value_from_another_thread_wakes_the_one_who_waits(_: Kernel) {
    for round in 0..500_u32 {
        let (sender, receiver) = oneshot::channel();
        let sent = std::thread::spawn(move || sender.send(round));
        let value = timeout(PATIENCE, receiver).await.expect("the wake was lost");
        assert_eq!(value.expect("it was sent"), round);
        assert!(sent.join().expect("no panic").is_ok());
    }
}
