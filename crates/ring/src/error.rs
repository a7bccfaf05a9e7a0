//! Errors that say which operation failed, and what to do about it.

use std::io;

/// Wraps `error` so that it names the operation and keeps its kind and errno.
///
/// The errno is the `source` of the new error and part of its text.
pub fn named(operation: &'static str, advice: &'static str, error: io::Error) -> io::Error {
    named_with(operation.into(), advice, error)
}

/// As [`named`], for an operation whose name is made at run time.
pub fn named_with(operation: String, advice: &'static str, error: io::Error) -> io::Error {
    io::Error::new(error.kind(), Named { operation, advice, error })
}

/// The errno behind `error`, also if it was [`named`].
pub fn errno(error: &io::Error) -> Option<i32> {
    error.raw_os_error().or_else(|| {
        let named = error.get_ref()?.downcast_ref::<Named>()?;
        errno(&named.error)
    })
}

#[derive(Debug)]
struct Named {
    operation: String,
    advice: &'static str,
    error: io::Error,
}

impl std::fmt::Display for Named {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.operation, self.error)?;
        if self.advice.is_empty() { Ok(()) } else { write!(f, "; {}", self.advice) }
    }
}

impl std::error::Error for Named {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_named_error_keeps_kind_errno_and_source() {
        let error = named("bind", "choose another port", io::Error::from_raw_os_error(libc::EADDRINUSE));
        assert_eq!(error.kind(), io::ErrorKind::AddrInUse);
        assert_eq!(errno(&error), Some(libc::EADDRINUSE));
        assert!(error.to_string().starts_with("bind: "), "{error}");
        assert!(error.to_string().ends_with("; choose another port"), "{error}");
    }
}
