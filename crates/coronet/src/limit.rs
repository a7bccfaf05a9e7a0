//! The limit of open files: raised at the first start, because a server needs one per client.

use std::sync::Once;

use rustix::process::{Resource, getrlimit, setrlimit};

/// Raises the soft limit of open files to the hard one, once per process.
///
/// The soft limit is 1024 by default for the sake of `select(2)`, which takes no larger numbers; nothing
/// here uses it. A program that does lowers the limit again after the start.
pub(crate) fn raise_open_files() {
    static RAISED: Once = Once::new();
    RAISED.call_once(|| {
        let limit = getrlimit(Resource::Nofile);
        let raised = rustix::process::Rlimit { current: limit.maximum, ..limit };
        if limit.current != limit.maximum {
            // A sandbox that forbids it leaves us with what there is.
            let _ = setrlimit(Resource::Nofile, raised);
        }
    });
}
