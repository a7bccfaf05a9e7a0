//! Which kernel a promise runs on, and the few things that are made differently there.

use std::os::fd::{AsRawFd, OwnedFd};

use coronet::ring::{Config, Driver, Preference};
use coronet::sim;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// A kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// The real one, by io_uring.
    Uring,
    /// The real one, by epoll.
    Epoll,
    /// The simulated one, under some seed.
    Simulated,
}

impl Kernel {
    /// As the lists of tests name it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Uring => "uring",
            Self::Epoll => "epoll",
            Self::Simulated => "simulated",
        }
    }

    /// How much of something: a simulated run is one of many, a real one has to do.
    pub(crate) fn count(self, real: usize, simulated: usize) -> usize {
        if self == Self::Simulated { simulated } else { real }
    }

    /// A file that is empty.
    pub(crate) fn file(self) -> OwnedFd {
        match self {
            Self::Simulated => sim::disk::open("file").expect("a disk"),
            Self::Uring | Self::Epoll => tempfile::tempfile().expect("a temporary file").into(),
        }
    }

    /// The reading and the writing end of a pipe.
    pub(crate) fn pipe(self) -> (OwnedFd, OwnedFd) {
        match self {
            Self::Simulated => sim::pipe().expect("a pipe"),
            Self::Uring | Self::Epoll => rustix::pipe::pipe().expect("a pipe"),
        }
    }

    /// A driver beside that of the runtime, to be turned by hand. Two of one promise need two names.
    pub(crate) fn driver(self, name: &str) -> Driver {
        let backend = match self {
            Self::Simulated => return sim::driver(name).expect("a simulated ring"),
            Self::Uring => Preference::Uring,
            Self::Epoll => Preference::Epoll,
        };
        Driver::new(Config { backend, ..Config::default() }).expect("the runtime has one of its kind")
    }

    /// Leaves so few descriptors to the process; until the guard is dropped. The simulated kernel runs out of
    /// descriptors by itself.
    pub(crate) fn leave_descriptors(self, spare: u64) -> Limited {
        let before = getrlimit(Resource::Nofile);
        if self != Self::Simulated {
            // The lowest free number is what the limit is compared with.
            let lowest = rustix::io::dup(std::io::stdin()).expect("a descriptor");
            let free = u64::from(lowest.as_raw_fd().unsigned_abs());
            drop(lowest);
            let limit = Rlimit { current: Some(free + spare), maximum: before.maximum };
            setrlimit(Resource::Nofile, limit).expect("a limit may be lowered");
        }
        Limited(before)
    }
}

/// The limit of descriptors as it was, set again on drop.
pub(crate) struct Limited(Rlimit);

impl Drop for Limited {
    fn drop(&mut self) {
        let _ = setrlimit(Resource::Nofile, Rlimit { ..self.0 });
    }
}
