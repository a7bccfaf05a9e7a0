//! Threads that wait for files: a few per driver, started when there is work.
//!
//! A job takes the request of one operation, moves its bytes with calls that may block, and
//! reports one result. Whoever reports rings the driver's eventfd.

#![allow(unsafe_code, reason = "threads fill the memory of an operation, which they know by address")]

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use crate::backend::unpark::Unparker;
use crate::request::Request;
use crate::span::{Span, SpanMut};
use crate::token::Token;

/// More do not make a disk faster; other cores have their own.
const THREADS_MAX: usize = 4;
/// How long a thread waits for more.
const LINGER: Duration = Duration::from_secs(5);

/// The position of the file itself: pipes and terminals have no other.
pub(super) const HERE: u64 = u64::MAX;

/// Bytes to move between a file and the memory of an operation that is not over.
#[derive(Clone, Copy)]
pub(super) struct Transfer {
    file: RawFd,
    start: *mut u8,
    pub(super) len: usize,
    pub(super) at: u64,
    writes: bool,
}

impl Transfer {
    /// What this request wants to move, if it is one for a file.
    pub(super) fn of(request: &Request<'static>) -> Option<Self> {
        if let Request::Read { file, into, at } = request {
            Some(Self::read(*file, into, *at))
        } else if let Request::Write { file, from, at } = request {
            Some(Self::write(*file, from, *at))
        } else {
            None
        }
    }

    /// Reads into the room of an operation.
    pub(super) fn read(file: BorrowedFd<'_>, into: &SpanMut<'static>, at: u64) -> Self {
        let (start, len) = (into.as_mut_ptr(), into.len() as usize);
        Self { file: file.as_raw_fd(), start, len, at, writes: false }
    }

    /// Writes the bytes of an operation.
    pub(super) fn write(file: BorrowedFd<'_>, from: &Span<'static>, at: u64) -> Self {
        let (start, len) = (from.as_ptr().cast_mut(), from.len() as usize);
        Self { file: file.as_raw_fd(), start, len, at, writes: true }
    }

    /// One call with these `RWF_*`; the count, or a negated errno.
    pub(super) fn carry_out(self, flags: i32) -> i32 {
        let slice = libc::iovec { iov_base: self.start.cast(), iov_len: self.len };
        let at = self.at as libc::off_t;
        let count = if self.writes {
            // SAFETY: [loan-pinned] the bytes stand still until the operation is over, which its caller decides.
            unsafe { libc::pwritev2(self.file, &raw const slice, 1, at, flags) }
        } else {
            // SAFETY: [loan-pinned] as above, for the room.
            unsafe { libc::preadv2(self.file, &raw const slice, 1, at, flags) }
        };
        if count < 0 { -io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO) } else { count as i32 }
    }

    /// True if the file is one to be waited for, and does not let bytes pass now. Regular files never are.
    pub(super) fn may_block(self) -> bool {
        let events = if self.writes { libc::POLLOUT } else { libc::POLLIN };
        let mut entry = libc::pollfd { fd: self.file, events, revents: 0 };
        // SAFETY: [loan-pinned] the operation is not over, so its descriptor is open; the entry is ours.
        let ready = unsafe { libc::poll(&raw mut entry, 1, 0) };
        ready == 0
    }

    /// What is left after `moved` bytes.
    fn behind(self, moved: usize, at: u64) -> Self {
        Self { start: self.start.wrapping_add(moved), len: self.len - moved, at, ..self }
    }

    /// Moves bytes until there are no more, as the ring does for files.
    fn run(self) -> i32 {
        let (mut moved, mut here) = (0, self.at == HERE);
        while moved < self.len {
            let at = if here { HERE } else { self.at + moved as u64 };
            match self.behind(moved, at).carry_out(0) {
                0 => break,
                count if count > 0 => moved += count as usize,
                error if error == -libc::EINTR => continue,
                error if error == -libc::ESPIPE && !here => {
                    here = true;
                    continue;
                }
                error if moved == 0 => return error,
                _ => break,
            }
            if here {
                // Pipes and terminals give what they have.
                break;
            }
        }
        moved as i32
    }
}

struct Job {
    token: Token,
    transfer: Transfer,
}

// SAFETY: [loan-pinned] memory and descriptor are the operation's until its last completion, which is
// reported only when the job is done or was withdrawn; meanwhile nobody else touches them.
unsafe impl Send for Job {}

/// The threads of one driver.
pub(super) struct Offload {
    shared: Arc<Shared>,
    /// Jobs whose result was not collected yet.
    under_way: usize,
}

struct Shared {
    state: Mutex<State>,
    work: Condvar,
    unparker: Unparker,
}

#[derive(Default)]
struct State {
    jobs: VecDeque<Job>,
    results: Vec<(Token, i32)>,
    threads: usize,
    idle: usize,
    closing: bool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // No job panics, and the state is plain data.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Offload {
    pub(super) fn new(unparker: Unparker) -> Self {
        let shared = Shared { state: Mutex::default(), work: Condvar::new(), unparker };
        Self { shared: Arc::new(shared), under_way: 0 }
    }

    /// Hands a job to a thread; a result if there is none and none can be started.
    pub(super) fn start(&mut self, token: Token, transfer: Transfer) -> Option<i32> {
        let mut state = self.shared.lock();
        if state.idle <= state.jobs.len() && state.threads < THREADS_MAX {
            let shared = self.shared.clone();
            let started = thread::Builder::new().name("coronet-file".into()).spawn(move || work(&shared));
            match started {
                Ok(_) => state.threads += 1,
                Err(_) if state.threads > 0 => {}
                // No thread to be had: better slow than failed.
                Err(_) => return Some(transfer.run()),
            }
        }
        state.jobs.push_back(Job { token, transfer });
        self.under_way += 1;
        drop(state);
        self.shared.work.notify_one();
        None
    }

    /// Takes a job back that no thread has begun; false if it is too late.
    pub(super) fn withdraw(&mut self, token: Token) -> bool {
        let mut state = self.shared.lock();
        let Some(place) = state.jobs.iter().position(|job| job.token == token) else { return false };
        state.jobs.remove(place);
        self.under_way -= 1;
        true
    }

    /// The results that came since.
    pub(super) fn collect(&mut self) -> Vec<(Token, i32)> {
        if self.under_way == 0 {
            return Vec::new();
        }
        let results = std::mem::take(&mut self.shared.lock().results);
        self.under_way -= results.len();
        results
    }
}

impl Drop for Offload {
    fn drop(&mut self) {
        self.shared.lock().closing = true;
        self.shared.work.notify_all();
    }
}

fn work(shared: &Shared) {
    let mut state = shared.lock();
    loop {
        if let Some(job) = state.jobs.pop_front() {
            drop(state);
            let result = job.transfer.run();
            state = shared.lock();
            state.results.push((job.token, result));
            shared.unparker.unpark();
            continue;
        }
        if state.closing {
            break;
        }
        state.idle += 1;
        let (woken, waited) = shared.work.wait_timeout(state, LINGER).unwrap_or_else(PoisonError::into_inner);
        state = woken;
        state.idle -= 1;
        if waited.timed_out() && state.jobs.is_empty() {
            break;
        }
    }
    state.threads -= 1;
}
