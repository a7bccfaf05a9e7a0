//! Reading and writing files and pipes.

use coronet_ring::Request;

use super::endpoint::{Readable, Writable};
use super::events::Event;
use super::files::OpenFile;
use super::memory;
use super::objects::Kind;
use super::ops::{Op, OpId, Phase};
use super::state::{Kernel, Outcome};

impl Kernel {
    /// One attempt of a read or a write.
    pub(crate) fn transfer(&mut self, id: OpId, op: &mut Op) -> Outcome {
        let object = op.target.expect("bound when it was consumed");
        let (host, file) = match self.objects.get(object).map(|object| (object.host, &object.kind)) {
            Some((host, Kind::File(file))) => (host, file.clone()),
            Some((_, Kind::Pipe(_))) => return self.transfer_pipe(op),
            Some((_, Kind::Socket(_) | Kind::Ring(_))) => return Outcome::failed(libc::EINVAL),
            None => return Outcome::failed(libc::EBADF),
        };
        if op.phase == Phase::Armed {
            // A worker takes it: from now on it cannot be cancelled.
            op.phase = Phase::Running;
            let delay = self.soon(self.faults.delays);
            self.schedule(delay, Event::Attempt(id));
            return Outcome::Wait;
        }
        if self.tape.chance(self.faults.disk_errors) {
            return Outcome::failed(libc::EIO);
        }
        self.transfer_file(op, host, &file)
    }

    fn transfer_file(&mut self, op: &Op, host: super::objects::HostId, file: &OpenFile) -> Outcome {
        let disk = &mut self.network.hosts.get_mut(&host).expect("an object has a host").disk;
        match &op.request {
            Request::Read { into, at, .. } => {
                let at = usize::try_from(*at).unwrap_or(usize::MAX);
                let most = disk.len(file).saturating_sub(at).min(into.len() as usize);
                if most == 0 {
                    return Outcome::result(0);
                }
                let count = self.count(most);
                let disk = &mut self.network.hosts.get_mut(&host).expect("looked up above").disk;
                let bytes = disk.read(file, at, count);
                memory::write(into, 0, &bytes);
                Outcome::result(count as i32)
            }
            Request::Write { from, at, .. } => {
                let Ok(at) = usize::try_from(*at) else { return Outcome::failed(libc::EFBIG) };
                if from.is_empty() {
                    return Outcome::result(0);
                }
                let count = self.count(from.len() as usize);
                let bytes = memory::read(from, 0, count);
                let disk = &mut self.network.hosts.get_mut(&host).expect("looked up above").disk;
                disk.write(file, at, &bytes);
                Outcome::result(count as i32)
            }
            other => unreachable!("{other:?} is neither a read nor a write"),
        }
    }

    fn transfer_pipe(&mut self, op: &Op) -> Outcome {
        let id = op.target.expect("bound when it was consumed");
        let Some(Kind::Pipe(end)) = self.objects.get(id).map(|object| &object.kind) else {
            return Outcome::failed(libc::EBADF);
        };
        let (readable, writable, other) = (end.readable(), end.writable(), end.other);
        let outcome = match &op.request {
            Request::Read { into, .. } => match readable {
                _ if into.is_empty() => Outcome::result(0),
                Readable::Bytes(ready) => {
                    let count = self.count(ready.min(into.len() as usize));
                    if let Some(Kind::Pipe(end)) = self.objects.get(id).map(|object| &object.kind) {
                        memory::write(into, 0, &end.take(count));
                    }
                    Outcome::result(count as i32)
                }
                Readable::End => Outcome::result(0),
                Readable::Error(errno) => Outcome::failed(errno),
                Readable::NotYet => Outcome::Wait,
            },
            Request::Write { from, .. } => match writable {
                Writable::Room(_) if from.is_empty() => Outcome::result(0),
                Writable::Room(room) => {
                    let count = self.count(room.min(from.len() as usize));
                    if let Some(Kind::Pipe(end)) = self.objects.get(id).map(|object| &object.kind) {
                        end.put(&memory::read(from, 0, count));
                    }
                    Outcome::result(count as i32)
                }
                Writable::Error(errno) => Outcome::failed(errno),
                Writable::NotYet => Outcome::Wait,
            },
            other => unreachable!("{other:?} is neither a read nor a write"),
        };
        if let (Outcome::Done(..), Some(other)) = (&outcome, other) {
            self.wake(other);
        }
        outcome
    }
}
