//! The ring's own table of files: a request that names a place in it spares the kernel the look-up of
//! the number and the count of the file, 1-2 % of a small message.
//!
//! A place is given to a busy descriptor, and taken back when the descriptor is about to close: as
//! long as the table has the file, closing the number ends nothing.

use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::atomic::{AtomicU32, Ordering};

use io_uring::Submitter;
use slab::Slab;

use crate::target::{Place, TableNumber};

/// Numbers the tables of this process, so that a place cannot be taken for one of another ring.
static TABLES: AtomicU32 = AtomicU32::new(1);
/// What the kernel calls an empty place.
const EMPTY: RawFd = -1;

/// Which places are taken, and by whom the kernel knows the table.
pub(crate) struct FileTable {
    /// `None` if this process had more tables than numbers.
    number: Option<TableNumber>,
    state: State,
    taken: Slab<()>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nobody asked for a place yet.
    Unregistered,
    Registered {
        places: u32,
    },
    /// The kernel has no such tables (before 5.19), or no room for one.
    Refused,
}

impl FileTable {
    pub(crate) fn new() -> Self {
        let number = TableNumber::new(TABLES.fetch_add(1, Ordering::Relaxed));
        Self { number, state: State::Unregistered, taken: Slab::new() }
    }

    /// Whose places requests may name.
    #[inline]
    pub(crate) fn number(&self) -> Option<TableNumber> {
        self.number
    }

    /// Puts the file of `fd` into the table. `None` if there is no table, or no room in it.
    pub(crate) fn hold(&mut self, submitter: &Submitter<'_>, fd: BorrowedFd<'_>) -> Option<Place> {
        let number = self.number?;
        if self.state == State::Unregistered {
            self.state = register(submitter);
        }
        let State::Registered { places } = self.state else { return None };
        let index = self.taken.vacant_key();
        let place = u32::try_from(index).ok().filter(|index| *index < places)?;
        submitter.register_files_update(place, &[fd.as_raw_fd()]).ok()?;
        self.taken.insert(());
        Some(Place::new(number, place))
    }

    /// Takes a file out of the table. Operations in flight keep it until they are over.
    pub(crate) fn let_go(&mut self, submitter: &Submitter<'_>, place: Place) {
        let Some(index) = self.number.and_then(|number| place.in_table(number)) else { return };
        let State::Registered { .. } = self.state else { return };
        let emptied = submitter.register_files_update(index, &[EMPTY]);
        debug_assert!(emptied.is_ok(), "{emptied:?}");
        // A place that could not be emptied is not used again.
        if emptied.is_ok() {
            self.taken.remove(index as usize);
        }
    }

    /// Takes out all files, at once: the end of a ring comes later, and in the background.
    pub(crate) fn clear(&mut self, submitter: &Submitter<'_>) {
        if let State::Registered { .. } = std::mem::replace(&mut self.state, State::Refused) {
            let cleared = submitter.unregister_files();
            debug_assert!(cleared.is_ok(), "{cleared:?}");
        }
    }
}

/// As many places as the process may have descriptors, up to a limit: 8 bytes each.
fn register(submitter: &Submitter<'_>) -> State {
    let descriptors = rustix::process::getrlimit(rustix::process::Resource::Nofile).current;
    let places =
        descriptors.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(Place::MAX).min(Place::MAX);
    match submitter.register_files_sparse(places) {
        Ok(()) => State::Registered { places },
        Err(_) => State::Refused,
    }
}
