//! From a preference and what the kernel allows to one backend and one sentence why.

use std::io;
use std::str::FromStr;

use crate::backend::capability::Capabilities;
use crate::backend::uring::Uring;
use crate::backend::uring::setup::Setup;
use crate::error;

/// Which backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// The best that works here.
    #[default]
    Auto,
    /// io_uring, or an error that says why not.
    Uring,
    /// epoll. Not part of this version: an error of kind `Unsupported`.
    Epoll,
}

impl FromStr for Preference {
    type Err = io::Error;

    fn from_str(name: &str) -> io::Result<Self> {
        match name {
            "auto" => Ok(Self::Auto),
            "uring" => Ok(Self::Uring),
            "epoll" => Ok(Self::Epoll),
            _ => Err(io::Error::new(
                io::ErrorKind::InvalidInput,
                format!("no backend is called {name:?}: use \"auto\", \"uring\" or \"epoll\""),
            )),
        }
    }
}

/// Sets up the backend that `preference` asks for.
pub(crate) fn open(preference: Preference, setup: Setup) -> io::Result<Uring> {
    match preference {
        // One backend stands so far, so the best that works is the only one.
        Preference::Auto | Preference::Uring => {
            let capabilities = Capabilities::probe()?;
            Uring::open(setup, capabilities)
        }
        Preference::Epoll => Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "the epoll backend is not part of this version; use \"auto\" or \"uring\"",
        )),
    }
}

/// Says what to do when io_uring is refused.
pub(crate) fn refused(error: io::Error) -> io::Error {
    let advice = match error.raw_os_error() {
        Some(libc::EPERM) => {
            "io_uring is blocked: look at the sysctl kernel.io_uring_disabled, and at the seccomp profile of the \
             container (Docker's default refuses io_uring)"
        }
        Some(libc::ENOSYS) => "this kernel has no io_uring: Linux 5.11 or newer is needed",
        Some(libc::ENOMEM) => "raise RLIMIT_MEMLOCK (ulimit -l), or use fewer entries",
        Some(libc::EMFILE) => "raise RLIMIT_NOFILE (ulimit -n)",
        _ => "",
    };
    error::named("io_uring_setup", advice, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_keeps_its_errno_and_says_what_to_do() {
        let error = refused(io::Error::from_raw_os_error(libc::EPERM));
        assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
        assert!(error.to_string().contains("seccomp"), "{error}");
    }

    #[test]
    fn an_unknown_backend_is_an_error_that_names_the_known_ones() {
        let error = "epol".parse::<Preference>().unwrap_err();
        assert!(error.to_string().contains("\"uring\""), "{error}");
    }
}
