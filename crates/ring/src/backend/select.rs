//! From a preference and what the kernel allows to one backend and one sentence why.

use std::io;
use std::str::FromStr;

use crate::backend::capability::Capabilities;
use crate::backend::epoll::{self, Epoll};
use crate::backend::mask::Mask;
use crate::backend::refusal::Refusal;
use crate::backend::uring::Uring;
use crate::backend::uring::setup::Setup;

/// Which backend to use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Preference {
    /// io_uring if it works here, else epoll; [`BackendReport`](crate::BackendReport) says which, and why.
    #[default]
    Auto,
    /// io_uring, or a [`Refusal`](crate::backend::Refusal) that says why not.
    Uring,
    /// epoll, wherever it runs.
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

/// The backend that was set up.
pub(crate) enum Chosen {
    Uring(Box<Uring>),
    Epoll(Box<Epoll>),
}

/// Sets up the backend that `preference` asks for.
pub(crate) fn open(preference: Preference, entries: u32, restrict: bool) -> io::Result<Chosen> {
    let mask = Mask::of_process()?;
    let uring = || Uring::open(Setup { entries, restrict, mask }, Capabilities::probe()?).map(Box::new);
    let epoll = |why: String| {
        let mut capabilities = epoll::CAPABILITIES;
        mask.apply(&mut capabilities);
        Epoll::open(format!("{why}{mask}"), capabilities).map(Box::new)
    };
    match preference {
        Preference::Uring => uring().map(Chosen::Uring),
        Preference::Epoll => epoll("as asked for".into()).map(Chosen::Epoll),
        Preference::Auto => {
            let error = match uring() {
                Ok(uring) => return Ok(Chosen::Uring(uring)),
                Err(error) => error,
            };
            match Refusal::of(&error).filter(|refusal| refusal.is_of_the_ring()) {
                Some(refusal) => epoll(refusal.to_string()).map(Chosen::Epoll),
                None => Err(error),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_backend_is_an_error_that_names_the_known_ones() {
        let error = "epol".parse::<Preference>().unwrap_err();
        assert!(error.to_string().contains("\"uring\""), "{error}");
    }
}
