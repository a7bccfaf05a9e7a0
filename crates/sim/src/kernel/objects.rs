//! What descriptors refer to, and the placeholders that stand for it in the program.
//!
//! Each descriptor of the program is the writing end of a real pipe that carries nothing; the
//! kernel keeps the reading end. So owning, duplicating and counting descriptors are real, the
//! inode of the pipe says which object a descriptor means, whatever its number, and the last
//! close shows as a hang-up, also when it went past the ring.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{Timespec, epoll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::endpoint::Endpoint;
use super::files::OpenFile;
use super::ops::{OpId, RingId};
use super::pipes::PipeEnd;

/// Numbers objects, in the order in which they were made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectId(pub(crate) u32);

/// Numbers hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct HostId(pub(crate) u16);

/// What a descriptor refers to.
pub(crate) enum Kind {
    Socket(Box<Endpoint>),
    File(OpenFile),
    Pipe(PipeEnd),
    Ring(RingId),
}

/// One open file description.
pub(crate) struct Object {
    pub(crate) kind: Kind,
    pub(crate) host: HostId,
    /// A descriptor refers to it.
    pub(crate) is_open: bool,
    /// Operations in flight that refer to it: they keep it alive, as the kernel's do.
    pub(crate) ops: Vec<OpId>,
}

struct Placeholder {
    /// `None` for those that a program does not close.
    reader: Option<OwnedFd>,
    inode: u64,
}

/// All objects.
#[derive(Default)]
pub(crate) struct Objects {
    table: BTreeMap<ObjectId, Object>,
    placeholders: BTreeMap<ObjectId, Placeholder>,
    by_inode: HashMap<u64, ObjectId>,
    /// Tells which placeholders were closed and which rings unparked, in one call that does not grow with their
    /// number: every turn of a ring looks. It is made with the first of them.
    watch: Option<OwnedFd>,
    /// Rings that were unparked since they last asked.
    unparked: BTreeSet<ObjectId>,
    count: u32,
}

/// As much as one look takes.
const TOLD_MAX: usize = 64;

impl Objects {
    /// Makes an object that no descriptor refers to yet.
    pub(crate) fn add(&mut self, host: HostId, kind: Kind) -> ObjectId {
        self.count += 1;
        let id = ObjectId(self.count);
        self.table.insert(id, Object { kind, host, is_open: false, ops: Vec::new() });
        id
    }

    /// Makes the descriptor of an object.
    pub(crate) fn open(&mut self, id: ObjectId) -> io::Result<OwnedFd> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC)?;
        let inode = rustix::fs::fstat(&writer)?.st_ino;
        // No flag: a hang-up is always told.
        self.watch(id, reader.as_fd(), epoll::EventFlags::empty())?;
        self.by_inode.insert(inode, id);
        self.placeholders.insert(id, Placeholder { reader: Some(reader), inode });
        self.table.get_mut(&id).expect("an object that was added").is_open = true;
        Ok(writer)
    }

    /// Makes the pipe of a ring: its reading end can be waited for, its writing end rings.
    pub(crate) fn open_bell(&mut self, id: ObjectId) -> io::Result<(OwnedFd, OwnedFd)> {
        let (reader, writer) = pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)?;
        let inode = rustix::fs::fstat(&writer)?.st_ino;
        self.by_inode.insert(inode, id);
        self.placeholders.insert(id, Placeholder { reader: None, inode });
        self.table.get_mut(&id).expect("an object that was added").is_open = true;
        Ok((reader, writer))
    }

    /// The object that a descriptor means.
    pub(crate) fn find(&self, fd: BorrowedFd<'_>) -> Option<ObjectId> {
        let inode = rustix::fs::fstat(fd).ok()?.st_ino;
        self.by_inode.get(&inode).copied()
    }

    fn watch(&mut self, id: ObjectId, fd: BorrowedFd<'_>, flags: epoll::EventFlags) -> io::Result<()> {
        if self.watch.is_none() {
            self.watch = Some(epoll::create(epoll::CreateFlags::CLOEXEC)?);
        }
        let watch = self.watch.as_ref().expect("made above");
        Ok(epoll::add(watch, fd, epoll::EventData::new_u64(id.0.into()), flags)?)
    }

    /// From now on [`Self::was_unparked`] tells of this unparker. `id` is the object of its ring.
    pub(crate) fn watch_unparker(&mut self, id: ObjectId, unparker: BorrowedFd<'_>) -> io::Result<()> {
        // Each unpark is told once.
        self.watch(id, unparker, epoll::EventFlags::IN | epoll::EventFlags::ET)
    }

    /// Whether a ring was unparked up to the last sweep, once.
    pub(crate) fn was_unparked(&mut self, ring: ObjectId) -> bool {
        self.unparked.remove(&ring)
    }

    /// Objects whose last descriptor was closed since the last look, in the order of their making.
    pub(crate) fn sweep(&mut self) -> Vec<ObjectId> {
        let mut closed = Vec::new();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        while let Some(watch) = &self.watch {
            let mut room = [MaybeUninit::<epoll::Event>::uninit(); TOLD_MAX];
            let (told, _) = epoll::wait(watch, &mut room, Some(&now)).expect("a wait for what we own");
            for event in &*told {
                let id = ObjectId(event.data.u64() as u32);
                if self.placeholders.get(&id).is_some_and(|at| at.reader.is_some()) {
                    closed.push(id);
                    // That closes its reading end, so it is not told again.
                    self.forget(id);
                } else {
                    self.unparked.insert(id);
                }
            }
            if told.len() < TOLD_MAX {
                break;
            }
        }
        closed.sort_unstable();
        closed
    }

    fn forget(&mut self, id: ObjectId) {
        if let Some(placeholder) = self.placeholders.remove(&id) {
            self.by_inode.remove(&placeholder.inode);
        }
        if let Some(object) = self.table.get_mut(&id) {
            object.is_open = false;
        }
    }

    /// Takes an object away, whoever refers to it; its descriptors mean nothing from now on.
    pub(crate) fn remove(&mut self, id: ObjectId) -> Option<Object> {
        self.forget(id);
        self.table.remove(&id)
    }

    pub(crate) fn get(&self, id: ObjectId) -> Option<&Object> {
        self.table.get(&id)
    }

    pub(crate) fn get_mut(&mut self, id: ObjectId) -> Option<&mut Object> {
        self.table.get_mut(&id)
    }

    pub(crate) fn endpoint(&self, id: ObjectId) -> Option<&Endpoint> {
        match &self.table.get(&id)?.kind {
            Kind::Socket(endpoint) => Some(endpoint),
            Kind::File(_) | Kind::Pipe(_) | Kind::Ring(_) => None,
        }
    }

    pub(crate) fn endpoint_mut(&mut self, id: ObjectId) -> Option<&mut Endpoint> {
        match &mut self.table.get_mut(&id)?.kind {
            Kind::Socket(endpoint) => Some(endpoint),
            Kind::File(_) | Kind::Pipe(_) | Kind::Ring(_) => None,
        }
    }

    pub(crate) fn sockets(&self) -> impl Iterator<Item = (ObjectId, &Endpoint)> {
        self.table.keys().filter_map(|id| Some((*id, self.endpoint(*id)?)))
    }

    pub(crate) fn of_host(&self, host: HostId) -> Vec<ObjectId> {
        self.table.iter().filter(|(_, object)| object.host == host).map(|(id, _)| *id).collect()
    }

    /// Descriptors that the program has open.
    pub(crate) fn open_count(&self) -> usize {
        self.placeholders.values().filter(|at| at.reader.is_some()).count()
    }
}
