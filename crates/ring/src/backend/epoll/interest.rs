//! Which descriptor waits for what, and what the kernel said about it.
//!
//! Every descriptor that an operation waits for has a [`Watch`] and one edge-triggered
//! registration, which serves operation after operation. While somebody waits, the
//! operation keeps its descriptor open, so the number means one file. When nobody waits, the
//! number may be closed and come back as another file: then the registration is *unsure*,
//! and the next one who waits asks the kernel (`EPOLL_CTL_MOD`, which also repeats an edge
//! that is still true). One that stays unused for some turns is taken back.
//!
//! An event is a hint and nothing more: who acts on it tries, and looks at the result.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};
use std::time::Duration;

use mio::event::Event;
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token as Key};
use rustix::net::{ipproto, sockopt};

use super::queue::Queue;
use crate::lifecycle::prefetch::prefetch;
use crate::request::Request;
use crate::token::Token;

/// What an operation waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    /// Bytes, connections, or the end.
    Read,
    /// Room, or the end of a connect.
    Write,
    /// Whatever `poll(2)` is asked for.
    Poll,
}

/// What the kernel is asked to report.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Asked {
    read: bool,
    write: bool,
}

/// Whether a short receive means that nothing is left.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Kind {
    #[default]
    Unknown,
    /// TCP: a byte stream without boundaries.
    Stream,
    /// A receive may end at a boundary, with more behind it.
    Other,
}

/// One descriptor number.
#[derive(Default)]
pub(super) struct Watch {
    /// Who waits, first come first served.
    pub(super) reads: Queue,
    pub(super) writes: Queue,
    pub(super) polls: Queue,
    /// The last attempt found nothing, and no edge came since.
    pub(super) drained: bool,
    /// As `drained`, for room.
    pub(super) full: bool,
    /// It stands in the list of those that are tried again without an edge.
    pub(super) again: bool,
    /// The end, an error or urgent data was seen: a short receive says nothing then.
    ending: bool,
    kind: Kind,
    asked: Asked,
    /// The registration is that of the file which the number means now.
    sure: bool,
    /// It stands in the list of those that nobody waits for.
    idle: bool,
}

// One line of the cache.
const _: () = assert!(size_of::<Watch>() <= 64);

impl Watch {
    pub(super) fn is_unused(&self) -> bool {
        self.reads.is_empty() && self.writes.is_empty() && self.polls.is_empty()
    }

    pub(super) fn is_registered(&self) -> bool {
        self.asked != Asked::default()
    }

    /// A receive was made that did not fill its room; whether it is known to be drained now.
    #[inline]
    pub(super) fn fell_short(&mut self, receive: &Request<'static>) -> bool {
        if self.kind == Kind::Unknown {
            self.learn_kind(receive);
        }
        self.drained = self.kind == Kind::Stream && !self.ending;
        self.drained
    }

    #[cold]
    fn learn_kind(&mut self, receive: &Request<'static>) {
        let (Request::Recv { socket, .. } | Request::RecvMulti { socket, .. }) = receive else { return };
        let protocol = sockopt::socket_protocol(*socket);
        let is_tcp = protocol.is_ok_and(|protocol| protocol == Some(ipproto::TCP));
        self.kind = if is_tcp { Kind::Stream } else { Kind::Other };
    }
}

/// The number of the entry that ends a park; descriptors are smaller.
const UNPARK: usize = usize::MAX;
const TIMER: usize = usize::MAX - 1;
/// Events of one wait; more wait for the next.
const EVENTS_MAX: usize = 1024;
/// Turns that an unused registration is kept: a stream that receives once per request uses it again.
const IDLE_TURNS: u64 = 64;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Happened {
    /// Somebody ended the park, or a thread of the pool is done.
    Unparked,
    /// A timeout may be due.
    Timer,
    /// Something about this descriptor.
    Descriptor(RawFd),
}

impl Happened {
    pub(super) fn descriptor(self) -> Option<RawFd> {
        match self {
            Self::Descriptor(fd) => Some(fd),
            Self::Unparked | Self::Timer => None,
        }
    }
}

/// What happened and nobody acted on yet, oldest first. Filled again when it is empty.
#[derive(Default)]
pub(super) struct Happenings {
    all: Vec<Happened>,
    next: usize,
}

impl Happenings {
    pub(super) fn is_empty(&self) -> bool {
        self.next == self.all.len()
    }

    #[inline]
    pub(super) fn next(&mut self) -> Option<Happened> {
        let next = self.all.get(self.next).copied()?;
        self.next += 1;
        Some(next)
    }

    /// The next `count` of them, or as many as there are; they stay.
    #[inline]
    pub(super) fn first(&self, count: usize) -> &[Happened] {
        let next = &self.all[self.next..];
        &next[..count.min(next.len())]
    }

    #[inline]
    fn push(&mut self, happened: Happened) {
        self.all.push(happened);
    }

    /// Forgets what was acted on.
    fn tidy(&mut self) {
        self.all.drain(..self.next);
        self.next = 0;
    }
}

pub(super) struct Interests {
    poll: Poll,
    events: Events,
    watches: Vec<Watch>,
    /// Those that nobody waits for, and since which turn.
    idle: VecDeque<(RawFd, u64)>,
    turn: u64,
    pub(super) waits: u64,
}

impl Interests {
    pub(super) fn new(unpark: BorrowedFd<'_>, timer: BorrowedFd<'_>) -> io::Result<Self> {
        let poll = Poll::new()?;
        for (fd, key) in [(unpark, UNPARK), (timer, TIMER)] {
            poll.registry().register(&mut SourceFd(&fd.as_raw_fd()), Key(key), Interest::READABLE)?;
        }
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS_MAX),
            watches: Vec::new(),
            idle: VecDeque::new(),
            turn: 0,
            waits: 0,
        })
    }

    #[inline]
    pub(super) fn at(&mut self, fd: RawFd) -> &mut Watch {
        let index = usize::try_from(fd).expect("descriptors are positive");
        if self.watches.len() <= index {
            self.grow(index);
        }
        &mut self.watches[index]
    }

    /// Asks for the memory of those that `next` is about, and says who reads there.
    #[inline]
    pub(super) fn foresee(&self, next: &[Happened]) -> impl Iterator<Item = Token> {
        let descriptors = || next.iter().filter_map(|happened| happened.descriptor());
        for fd in descriptors() {
            prefetch(self.watches.as_ptr().wrapping_add(fd as usize).cast());
        }
        descriptors().filter_map(|fd| self.watches.get(fd as usize)?.reads.first())
    }

    #[cold]
    fn grow(&mut self, index: usize) {
        self.watches.resize_with(index + 1, Watch::default);
    }

    /// Sees to it that the kernel reports what `side` waits for, from now on, and at once if it is so.
    ///
    /// # Errors
    /// `EPERM` for files that are always ready; `ENOMEM` and `ENOSPC` when the kernel has no room.
    pub(super) fn ask(&mut self, fd: RawFd, side: Side) -> io::Result<()> {
        self.at(fd);
        let registry = self.poll.registry();
        let watch = &mut self.watches[fd as usize];
        let asked = match side {
            Side::Read => Asked { read: true, ..watch.asked },
            Side::Write => Asked { write: true, ..watch.asked },
            Side::Poll => Asked { read: true, write: true },
        };
        if watch.sure && watch.asked == asked {
            return Ok(());
        }
        let read = Interest::READABLE.add(Interest::PRIORITY);
        let interest = match (asked.read, asked.write) {
            (true, true) => read.add(Interest::WRITABLE),
            (true, false) => read,
            (false, _) => Interest::WRITABLE,
        };
        let (mut source, key) = (SourceFd(&fd), Key(fd as usize));
        let mut changed = if watch.is_registered() {
            registry.reregister(&mut source, key, interest)
        } else {
            Err(io::Error::from_raw_os_error(libc::ENOENT))
        };
        let is = |result: &io::Result<()>, errno| {
            result.as_ref().is_err_and(|error| error.raw_os_error() == Some(errno))
        };
        if is(&changed, libc::ENOENT) {
            watch.kind = Kind::Unknown;
            changed = registry.register(&mut source, key, interest);
            if is(&changed, libc::EEXIST) {
                changed = registry.reregister(&mut source, key, interest);
            }
        }
        if let Err(error) = changed {
            (watch.asked, watch.sure) = (Asked::default(), false);
            return Err(error);
        }
        if !watch.sure {
            // What is true is reported again.
            (watch.drained, watch.full, watch.ending) = (true, true, false);
        }
        (watch.asked, watch.sure) = (asked, true);
        Ok(())
    }

    /// Nobody waits for this descriptor any more, if that is so.
    pub(super) fn let_go(&mut self, fd: RawFd) {
        let turn = self.turn;
        let watch = self.at(fd);
        if watch.is_unused() && watch.sure {
            watch.sure = false;
            if !watch.idle {
                watch.idle = true;
                self.idle.push_back((fd, turn));
            }
        }
    }

    /// The kernel has made a new file under this number: what was known is of another one.
    pub(super) fn is_new(&mut self, fd: RawFd) {
        let watch = self.at(fd);
        debug_assert!(watch.is_unused());
        let idle = watch.idle;
        *watch = Watch { idle, ..Watch::default() };
    }

    /// The number is about to be closed. A duplicate would keep the registration alive.
    pub(super) fn closes(&mut self, fd: RawFd) {
        if (fd as usize) < self.watches.len() && self.watches[fd as usize].is_registered() {
            self.take_back(fd);
        }
    }

    fn take_back(&mut self, fd: RawFd) {
        // It fails if the file is gone already, and its registration with it.
        let _ = self.poll.registry().deregister(&mut SourceFd(&fd));
        let watch = &mut self.watches[fd as usize];
        (watch.asked, watch.sure) = (Asked::default(), false);
        (watch.drained, watch.full, watch.ending) = (false, false, false);
    }

    /// One more turn: takes back what was not used for a while.
    pub(super) fn turn(&mut self) {
        self.turn += 1;
        while let Some(&(fd, since)) = self.idle.front() {
            if self.turn - since < IDLE_TURNS {
                return;
            }
            self.idle.pop_front();
            let watch = &mut self.watches[fd as usize];
            watch.idle = false;
            if watch.is_unused() && watch.is_registered() {
                self.take_back(fd);
            }
        }
    }

    /// Waits for events, notes them in the watches, and adds what happened.
    ///
    /// # Errors
    /// Only if no event can be had any more. A signal is none.
    pub(super) fn wait(&mut self, timeout: Option<Duration>, happened: &mut Happenings) -> io::Result<()> {
        happened.tidy();
        self.waits += 1;
        match self.poll.poll(&mut self.events, timeout) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &self.events {
            happened.push(match event.token() {
                Key(UNPARK) => Happened::Unparked,
                Key(TIMER) => Happened::Timer,
                Key(number) => {
                    // An event of a number that was forgotten: nobody waits.
                    let Some(watch) = self.watches.get_mut(number) else { continue };
                    note(watch, event);
                    Happened::Descriptor(number as RawFd)
                }
            });
        }
        Ok(())
    }
}

fn note(watch: &mut Watch, event: &Event) {
    let ending = event.is_read_closed() || event.is_write_closed() || event.is_error();
    watch.ending |= ending || event.is_priority();
    watch.drained &= !(ending || event.is_readable());
    watch.full &= !(ending || event.is_writable());
}

impl AsFd for Interests {
    #[allow(unsafe_code, reason = "the poller shows its descriptor by number only")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        let fd = self.poll.as_raw_fd();
        // SAFETY: [ring-open] the poller owns this descriptor as long as the borrow lasts.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}
