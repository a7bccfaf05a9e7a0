//! Which flags the ring gets: the best the kernel takes, step by step down.

use std::io;

use io_uring::IoUring;

use crate::backend::mask::Mask;
use crate::backend::refusal::{Refusal, Stage};
use crate::backend::uring::restrict;

/// The size of a ring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setup {
    /// Entries of the submission queue; the kernel rounds up to a power of two.
    pub(crate) entries: u32,
    /// Only what Coronet uses is allowed on it: see `restrict.rs`.
    pub(crate) restrict: bool,
    /// Rungs that are left out.
    pub(crate) mask: &'static Mask,
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

/// The completion queue never overflows in normal work: thousands of connections may fire at once. 5,100 were seen to
/// wait in it with 4,096 connections; with 50 and with 1,000 the size made no difference to 4,096 entries.
const COMPLETIONS_MIN: u32 = 16_384;
/// Below this a ring is not worth having.
const ENTRIES_MIN: u32 = 8;

/// Sets up a ring on the highest rung that the kernel takes.
pub(crate) fn build(setup: Setup) -> io::Result<(IoUring, Rung)> {
    let mut entries = setup.entries.max(ENTRIES_MIN);
    loop {
        match climb(entries, setup) {
            // Locked memory or fragmentation: a smaller ring may fit.
            Err(error) if error.raw_os_error() == Some(libc::ENOMEM) && entries > ENTRIES_MIN => entries /= 2,
            other => return other.map_err(|error| Refusal::new(Stage::Setup, &error).into()),
        }
    }
}

fn climb(entries: u32, setup: Setup) -> io::Result<(IoUring, Rung)> {
    let mut refusal = None;
    for rung in LADDER.into_iter().filter(|rung| rung.is_allowed(setup.mask)) {
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
        if setup.restrict {
            builder.setup_r_disabled();
        }
        match builder.build(entries) {
            Ok(ring) => {
                if setup.restrict {
                    restrict::lock(&ring)?;
                }
                return Ok((ring, rung));
            }
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

    fn is_allowed(self, mask: &Mask) -> bool {
        let hidden = |used, name| used && mask.hides(name);
        !(hidden(self.defer_taskrun, "defer_taskrun")
            || hidden(self.no_sqarray, "no_sqarray")
            || hidden(self.coop_taskrun, "coop_taskrun"))
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
    fn a_mask_forces_a_lower_rung() {
        let highest = |names: &str| {
            let mask: Mask = names.parse().expect("known names");
            LADDER.into_iter().find(|rung| rung.is_allowed(&mask)).expect("the plain one").name
        };
        assert_eq!(highest(""), "DEFER_TASKRUN, NO_SQARRAY");
        assert_eq!(highest("no_sqarray"), "DEFER_TASKRUN");
        assert_eq!(highest("defer_taskrun"), "COOP_TASKRUN");
        assert_eq!(highest("defer_taskrun,coop_taskrun"), "plain");
        assert_eq!(highest("6.1"), "DEFER_TASKRUN");
        assert_eq!(highest("5.15"), "plain");
    }

    #[test]
    fn the_completion_queue_is_never_smaller_than_four_times_the_submission_queue() {
        for entries in [8, 64, 256, 4096] {
            assert!(completions(entries) >= 4 * entries);
        }
        assert_eq!(completions(256), COMPLETIONS_MIN);
    }
}
