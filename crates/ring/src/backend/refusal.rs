//! Why io_uring cannot be used here, and what to do about it.

use std::fmt;
use std::io;

/// Why io_uring cannot be used here. Inside the [`io::Error`] of
/// [`Preference::Uring`](crate::Preference::Uring), and the text of the report of
/// [`Preference::Auto`](crate::Preference::Auto).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// What failed.
    pub stage: Stage,
    /// With which errno.
    pub errno: i32,
}

/// What failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Setting up a ring.
    Setup,
    /// Entering a ring that was set up.
    Enter,
    /// The first operation on a ring: the set-up works, operations do not.
    FirstOperation,
    /// Waiting with a time limit, which a kernel before 5.11 cannot.
    Wait,
}

impl Refusal {
    pub(crate) fn new(stage: Stage, error: &io::Error) -> Self {
        Self { stage, errno: error.raw_os_error().unwrap_or(libc::EIO) }
    }

    /// The refusal inside of `error`, if it is one.
    pub fn of(error: &io::Error) -> Option<Self> {
        error.get_ref()?.downcast_ref().copied()
    }

    /// True if another backend may do better. Descriptors that ran out will do so there, too.
    pub(crate) fn is_of_the_ring(self) -> bool {
        !matches!(self.errno, libc::EMFILE | libc::ENFILE)
    }

    fn advice(self) -> &'static str {
        match (self.stage, self.errno) {
            (Stage::Setup, libc::EPERM | libc::EACCES) => {
                "look at the sysctl kernel.io_uring_disabled; under Docker run with a seccomp profile that allows \
                 io_uring_setup, io_uring_enter and io_uring_register, such as deploy/seccomp.json of Coronet"
            }
            (Stage::Setup, libc::ENOSYS) => {
                "this kernel or sandbox has no io_uring; Linux has it from 5.11 on"
            }
            (Stage::Wait, _) => "Linux 5.11 or newer is needed",
            (Stage::Setup, libc::ENOMEM) => "raise RLIMIT_MEMLOCK (ulimit -l), or use fewer entries",
            (Stage::Setup, libc::EINVAL) => "the kernel takes none of the flags that are tried",
            (Stage::Setup, libc::EMFILE | libc::ENFILE) => "raise RLIMIT_NOFILE (ulimit -n)",
            (Stage::Enter | Stage::FirstOperation, _) => "a sandbox allows the ring but not its use",
            (Stage::Setup, _) => "no advice is known",
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.stage {
            Stage::Setup => "io_uring_setup refused",
            Stage::Enter => "io_uring_enter refused",
            Stage::FirstOperation => "the first operation on a ring failed",
            Stage::Wait => "io_uring_enter with a timeout failed",
        };
        match name(self.errno) {
            Some(name) => write!(f, "{what} with {name}; {}", self.advice()),
            None => write!(f, "{what} with errno {}; {}", self.errno, self.advice()),
        }
    }
}

impl std::error::Error for Refusal {}

impl From<Refusal> for io::Error {
    fn from(refusal: Refusal) -> Self {
        Self::new(io::Error::from_raw_os_error(refusal.errno).kind(), refusal)
    }
}

/// The names of those that are known to come.
fn name(errno: i32) -> Option<&'static str> {
    Some(match errno {
        libc::EPERM => "EPERM",
        libc::EACCES => "EACCES",
        libc::ENOSYS => "ENOSYS",
        libc::ENOMEM => "ENOMEM",
        libc::EINVAL => "EINVAL",
        libc::EMFILE => "EMFILE",
        libc::ENFILE => "ENFILE",
        libc::EOPNOTSUPP => "EOPNOTSUPP",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_errno_and_says_what_to_do() {
        for (stage, errno, kind, says) in [
            (
                Stage::Setup,
                libc::EPERM,
                io::ErrorKind::PermissionDenied,
                "refused with EPERM; look at the sysctl",
            ),
            (Stage::Setup, libc::EACCES, io::ErrorKind::PermissionDenied, "seccomp"),
            (Stage::Setup, libc::ENOSYS, io::ErrorKind::Unsupported, "5.11"),
            (Stage::Setup, libc::ENOMEM, io::ErrorKind::OutOfMemory, "RLIMIT_MEMLOCK"),
            (Stage::Setup, libc::EINVAL, io::ErrorKind::InvalidInput, "flags"),
            (Stage::Enter, libc::EPERM, io::ErrorKind::PermissionDenied, "the ring but not its use"),
            (Stage::FirstOperation, libc::EINVAL, io::ErrorKind::InvalidInput, "the ring but not its use"),
        ] {
            let refusal = Refusal { stage, errno };
            let error = io::Error::from(refusal);
            assert_eq!((error.kind(), Refusal::of(&error)), (kind, Some(refusal)));
            assert!(error.to_string().contains(says), "{error}");
        }
        assert_eq!(Refusal::of(&io::Error::from_raw_os_error(libc::EPERM)), None);
    }
}
