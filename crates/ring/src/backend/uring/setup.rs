//! Which flags the ring gets: the best the kernel takes, step by step down.

use std::io;

use io_uring::IoUring;

use crate::backend::select::refused;

/// The size of a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Entries of the submission queue; the kernel rounds up to a power of two.
    pub(crate) entries: u32,
}

/// One set of flags, and what to call it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Rung {
    pub(crate) name: &'static str,
    defer_taskrun: bool,
    no_sqarray: bool,
    coop_taskrun: bool,
}

/// From the newest kernel to the oldest; `EINVAL` means one step down.
const LADDER: [Rung; 4] = [
    Rung { name: "DEFER_TASKRUN, NO_SQARRAY", defer_taskrun: true, no_sqarray: true, coop_taskrun: false }, // 6.6
    Rung { name: "DEFER_TASKRUN", defer_taskrun: true, no_sqarray: false, coop_taskrun: false }, // 6.1
    Rung { name: "COOP_TASKRUN", defer_taskrun: false, no_sqarray: false, coop_taskrun: true },  // 5.19
    Rung { name: "plain", defer_taskrun: false, no_sqarray: false, coop_taskrun: false },        // 5.11
];

/// The completion queue never overflows in normal work: a few thousand connections may fire at once.
const COMPLETIONS_MIN: u32 = 4096;
/// Below this a ring is not worth having.
const ENTRIES_MIN: u32 = 8;

/// Sets up a ring on the highest rung that the kernel takes.
pub(crate) fn build(setup: Setup) -> io::Result<(IoUring, Rung)> {
    let mut entries = setup.entries.max(ENTRIES_MIN);
    loop {
        match climb(entries) {
            // Locked memory or fragmentation: a smaller ring may fit.
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && entries > ENTRIES_MIN => entries /= 2,
            other => return other.map_err(refused),
        }
    }
}

fn climb(entries: u32) -> io::Result<(IoUring, Rung)> {
    let mut refusal = None;
    for rung in LADDER {
        let mut builder = IoUring::builder();
        builder.dontfork().setup_clamp().setup_cqsize(completions(entries));
        if rung.defer_taskrun {
            builder.setup_single_issuer().setup_defer_taskrun().setup_submit_all().setup_taskrun_flag();
        }
        if rung.no_sqarray {
            builder.setup_no_sqarray();
        }
        if rung.coop_taskrun {
            builder.setup_coop_taskrun().setup_taskrun_flag().setup_submit_all();
        }
        match builder.build(entries) {
            Ok(ring) => return Ok((ring, rung)),
            Err(error) if error.raw_os_error() == Some(libc::EINVAL) => refusal = Some(error),
            Err(error) => return Err(error),
        }
    }
    Err(refusal.expect("the ladder has rungs"))
}

fn completions(entries: u32) -> u32 {
    // A ring that had to shrink shrinks both queues.
    if entries >= 64 { (entries * 4).max(COMPLETIONS_MIN) } else { entries * 4 }
}

impl Rung {
    /// Completions are posted while the thread is in an enter, and at no other time.
    pub(crate) fn completes_in_enter(self) -> bool {
        self.defer_taskrun
    }

    /// The submission queue's flags say when task work waits.
    pub(crate) fn flags_taskrun(self) -> bool {
        self.defer_taskrun || self.coop_taskrun
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_completion_queue_is_never_smaller_than_four_times_the_submission_queue() {
        for entries in [8, 64, 256, 4096] {
            assert!(completions(entries) >= 4 * entries);
        }
        assert_eq!(completions(256), COMPLETIONS_MIN);
    }
}
