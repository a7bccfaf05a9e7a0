//! What this kernel can do, learned by *running* operations, once per process.
//!
//! Sandboxes accept the set-up of a ring and fail its operations; distributions patch
//! kernels. So nothing is inferred from a version number, but for a few [`quirks`] that no trial shows.

#![allow(unsafe_code, reason = "drives a scratch ring by hand")]

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixListener, UnixStream};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use io_uring::squeue::Entry;
use io_uring::types::{Fd, Fixed, SubmitArgs, Timespec};
use io_uring::{IoUring, opcode};
use rustix::event::{PollFd, PollFlags, Timespec as TimeSpec};

use crate::backend::mask::Mask;
use crate::backend::quirks;
use crate::backend::refusal::{Refusal, Stage};
use crate::backend::unpark::Unparker;
use crate::backend::uring::encode::REPORT_USAGE;
use crate::backend::uring::setup::{self, Setup};
use crate::pool::GroupMemory;

/// What the kernel can do for us; in brackets the version that brought it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// Receives and sends on a socket in non-blocking mode wait all the same: the mode speaks to other calls only.
    pub waits_nonblocking: bool,
    /// One poll that completes again and again (5.13).
    pub poll_multi: bool,
    /// Rings of buffers that the kernel picks from (5.19).
    pub buffer_groups: bool,
    /// One accept that takes connections again and again (5.19).
    pub accept_multi: bool,
    /// One receive that completes again and again (6.0).
    pub recv_multi: bool,
    /// Completions posted to another ring (5.18).
    pub msg_ring: bool,
    /// Zero-copy send (6.0).
    pub send_zc: bool,
    /// The kernel reports whether a zero-copy send was copied all the same (6.1; the man page says 6.2).
    pub send_zc_report: bool,
    /// One receive that fills several buffers (6.10).
    pub bundles: bool,
    /// One buffer that serves several receives (6.12).
    pub incremental: bool,
    /// A wait for many completions that gives up early (6.12).
    pub min_wait: bool,
    /// A table of files on the ring that lets go of one file at once (6.13).
    pub file_table: bool,
}

static PROBED: OnceLock<Capabilities> = OnceLock::new();
static LISTENERS: AtomicU32 = AtomicU32::new(0);

impl Capabilities {
    /// Runs operations on a scratch ring; what is a
    /// property of the ring (bundles, `min_wait`), is asked for. Zero-copy send is tried on a socket that refuses
    /// it, in a way that shows whether the kernel knows it.
    ///
    /// What `CORONET_MASK` names is left out. The answer is kept for the process.
    ///
    /// # Errors
    /// If no ring can be had, or a ring on which even a nop fails: a [`Refusal`](crate::backend::Refusal).
    /// `InvalidInput` for a `CORONET_MASK` that names what does not exist.
    pub fn probe() -> io::Result<Self> {
        if let Some(known) = PROBED.get() {
            return Ok(*known);
        }
        let mask = Mask::of_process()?;
        let mut capabilities = Scratch::new(mask)?.run()?;
        quirks::apply(&kernel_release(), &mut capabilities);
        mask.apply(&mut capabilities);
        Ok(*PROBED.get_or_init(|| capabilities))
    }
}

/// The kernel's own name for itself, such as `6.18.2`.
pub fn kernel_release() -> String {
    rustix::system::uname().release().to_string_lossy().into_owned()
}

/// Whether a ring goes on ringing its eventfd for deferred work, or does so once after it was registered. Tried
/// once per process.
///
/// Debian's Linux 6.12.115 and 6.12.117 ring it from another context where somebody else's wake-up brought the
/// work, and then never again. It is no [`Capabilities`]: the ring makes up for it.
pub(super) fn rings_again() -> bool {
    static RINGS: OnceLock<bool> = OnceLock::new();
    *RINGS.get_or_init(|| {
        let tried = Mask::of_process().and_then(Scratch::new).and_then(Scratch::rings_again);
        // Who does not know makes up for it.
        tried.unwrap_or(false)
    })
}

/// How long the second ring of a bell is waited for. Where all is well it has come already, and on a machine
/// that is slower than that it only costs two system calls per turn.
const BELL_PATIENCE: TimeSpec = TimeSpec { tv_sec: 0, tv_nsec: 100_000_000 };
/// Long enough for a loaded machine; an operation that hangs is one that does not work.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often entering the ring may fail for a moment: a sandbox may answer so for ever.
const BUSY_MAX: u32 = 100;
const INCREMENTAL: u16 = 2;

struct Scratch {
    ring: IoUring,
    operations: u64,
}

impl Scratch {
    fn new(mask: &'static Mask) -> io::Result<Self> {
        let (ring, _) = setup::build(Setup { entries: 8, restrict: false, mask })?;
        Ok(Self { ring, operations: 0 })
    }

    fn run(mut self) -> io::Result<Capabilities> {
        let nop = self.first_result(opcode::Nop::new().build())?;
        if nop < 0 {
            return Err(Refusal { stage: Stage::FirstOperation, errno: -nop }.into());
        }
        let mut supported = io_uring::Probe::new();
        let probed = self.ring.submitter().register_probe(&mut supported).is_ok();
        let send_zc =
            probed && supported.is_supported(opcode::SendZc::CODE) && self.knows_send_zc(0).unwrap_or(false);
        let bundles = self.ring.params().is_feature_recvsend_bundle();
        let min_wait = self.ring.params().is_feature_min_timeout();
        let ring_fd = Fd(self.ring.as_raw_fd());
        let buffer_groups = self.group_works(0).is_some_and(|memory| {
            self.close_group(memory);
            true
        });
        Ok(Capabilities {
            waits_nonblocking: self.waits_nonblocking().unwrap_or(false),
            poll_multi: self.poll_multi_works(),
            buffer_groups,
            accept_multi: self.accept_multi_works().unwrap_or(false),
            recv_multi: self.recv_multi_works().unwrap_or(false),
            // The message itself arrives as a completion, too; either is good news.
            msg_ring: self.first_result(opcode::MsgRingData::new(ring_fd, 0, 0, None).build())? >= 0,
            send_zc,
            send_zc_report: send_zc && self.knows_send_zc(REPORT_USAGE).unwrap_or(false),
            bundles: bundles && buffer_groups,
            incremental: self.group_works(INCREMENTAL).is_some_and(|memory| {
                self.close_group(memory);
                true
            }),
            min_wait,
            file_table: self.file_table_works().unwrap_or(false),
        })
    }

    fn poll_multi_works(&mut self) -> bool {
        let Ok((ours, theirs)) = UnixStream::pair() else { return false };
        drop(theirs);
        let poll = opcode::PollAdd::new(Fd(ours.as_raw_fd()), libc::POLLIN as u32).multi(true).build();
        self.first_result(poll).is_ok_and(|result| result >= 0)
    }

    /// A receive with nothing to take and a send without room, on a socket in non-blocking mode.
    fn waits_nonblocking(&mut self) -> io::Result<bool> {
        let (mut ours, mut theirs) = UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        // Never freed: whatever goes wrong, the kernel has a place to write to.
        let byte: *mut u8 = Box::leak(Box::new(0));
        let recv = self.start(opcode::Recv::new(Fd(ours.as_raw_fd()), byte, 1).build());
        self.ring.submit()?;
        io::Write::write_all(&mut theirs, b"x")?;
        let received = self.wait_for(recv)?;

        while io::Write::write(&mut ours, &[0; 64 * 1024]).is_ok() {}
        let send = self.start(opcode::Send::new(Fd(ours.as_raw_fd()), byte, 1).build());
        self.ring.submit()?;
        theirs.set_nonblocking(true)?;
        while io::Read::read(&mut theirs, &mut [0; 64 * 1024]).is_ok_and(|count| count > 0) {}
        let sent = self.wait_for(send)?;
        Ok((received, sent) == (1, 1))
    }

    fn accept_multi_works(&mut self) -> io::Result<bool> {
        let number = LISTENERS.fetch_add(1, Ordering::Relaxed);
        let name = format!("coronet-probe-{}-{number}", std::process::id());
        let address = SocketAddr::from_abstract_name(name)?;
        let listener = UnixListener::bind_addr(&address)?;
        let _client = UnixStream::connect_addr(&address)?;
        let accepted = self.first_result(opcode::AcceptMulti::new(Fd(listener.as_raw_fd())).build())?;
        if accepted >= 0 {
            // SAFETY: [fd-adopted] the kernel just gave this descriptor to us, and to nobody else.
            drop(unsafe { <std::os::fd::OwnedFd as std::os::fd::FromRawFd>::from_raw_fd(accepted) });
        }
        Ok(accepted >= 0)
    }

    fn recv_multi_works(&mut self) -> io::Result<bool> {
        let (ours, mut theirs) = UnixStream::pair()?;
        io::Write::write_all(&mut theirs, b"x")?;
        let Some(memory) = self.group_works(0) else { return Ok(false) };
        let received = self.first_result(opcode::RecvMulti::new(Fd(ours.as_raw_fd()), 0).build());
        self.close_group(memory);
        Ok(received? == 1)
    }

    /// Before 6.13 a table keeps a file until every older request is over, whatever place that names.
    fn file_table_works(&mut self) -> io::Result<bool> {
        const EMPTY: i32 = -1;
        let (waiting, _held) = UnixStream::pair()?;
        let (ours, theirs) = UnixStream::pair()?;
        let submitter = self.ring.submitter();
        submitter.register_files_sparse(2)?;
        submitter.register_files_update(0, &[waiting.as_raw_fd(), ours.as_raw_fd()])?;
        drop(ours);
        let poll = self.start(opcode::PollAdd::new(Fixed(0), libc::POLLIN as u32).build());
        self.ring.submit()?;
        let emptied = self.ring.submitter().register_files_update(1, &[EMPTY]);
        theirs.set_nonblocking(true)?;
        let ended = io::Read::read(&mut &theirs, &mut [0]).is_ok_and(|count| count == 0);
        self.cancel(poll);
        self.wait_for(poll)?;
        self.ring.submitter().unregister_files()?;
        Ok(emptied.is_ok() && ended)
    }

    /// A Unix socket cannot do it, and its answer tells whether the kernel could: `EINVAL` is for flags that it
    /// does not know, and `EACCES` or `EPERM` for what a sandbox forbids. A kernel of 6.0 sends, and copies.
    fn knows_send_zc(&mut self, flags: u16) -> io::Result<bool> {
        let (ours, _theirs) = UnixStream::pair()?;
        let send = opcode::SendZc::new(Fd(ours.as_raw_fd()), b"x".as_ptr(), 1).zc_flags(flags);
        let sent = self.first_result(send.build())?;
        Ok(sent == 1 || sent == -libc::EOPNOTSUPP)
    }

    fn rings_again(mut self) -> io::Result<bool> {
        let bell = Unparker::new()?;
        self.ring.submitter().register_eventfd(bell.as_fd().as_raw_fd())?;
        let (mut ours, mut theirs) = UnixStream::pair()?;
        let mut rung = false;
        for _ in 0..2 {
            let poll = opcode::PollAdd::new(Fd(ours.as_raw_fd()), libc::POLLIN as u32).build();
            let poll = self.start(poll);
            self.ring.submit()?;
            bell.reset();
            io::Write::write_all(&mut theirs, b"x")?;
            let mut fds = [PollFd::new(&bell, PollFlags::IN)];
            rung = rustix::event::poll(&mut fds, Some(&BELL_PATIENCE))? == 1;
            self.wait_for(poll)?;
            io::Read::read_exact(&mut ours, &mut [0])?;
        }
        self.ring.submitter().unregister_eventfd()?;
        Ok(rung)
    }

    fn group_works(&mut self, flags: u16) -> Option<GroupMemory> {
        let memory = GroupMemory::new(1, 4096).ok()?;
        memory.write_entry(0, 0);
        memory.publish(1);
        let submitter = self.ring.submitter();
        // SAFETY: [group-mapped] `close_group` drops the memory after the kernel let go of it.
        let registered =
            unsafe { submitter.register_buf_ring_with_flags(memory.ring_address(), 1, 0, flags) };
        registered.is_ok().then_some(memory)
    }

    fn close_group(&mut self, memory: GroupMemory) {
        if self.ring.submitter().unregister_buf_ring(0).is_err() {
            std::mem::forget(memory);
        }
    }

    /// The first result of one operation, which is over when this returns.
    fn first_result(&mut self, entry: Entry) -> io::Result<i32> {
        let op = self.start(entry);
        self.wait_for(op)
    }

    /// Queues one operation, under a number of its own: so a late answer is nobody else's.
    fn start(&mut self, entry: Entry) -> u64 {
        self.operations += 2;
        self.push(entry.user_data(self.operations));
        self.operations
    }

    fn cancel(&mut self, op: u64) {
        self.push(opcode::AsyncCancel::new(op).build().user_data(op + 1));
    }

    fn wait_for(&mut self, op: u64) -> io::Result<i32> {
        let mut first = None;
        let mut cancelled = false;
        let mut busy = 0;
        loop {
            let timespec = Timespec::from(PATIENCE);
            let entered = self.ring.submitter().submit_with_args(1, &SubmitArgs::new().timespec(&timespec));
            if let Err(error) = entered {
                match error.raw_os_error() {
                    Some(libc::EINTR) => {}
                    // They pass, and what this probe does not see is not used as long as the process lives.
                    Some(libc::EAGAIN | libc::EBUSY) if busy < BUSY_MAX => busy += 1,
                    _ => return Err(Refusal::new(Stage::Enter, &error).into()),
                }
            }
            let mut over = false;
            for done in self.ring.completion() {
                if done.user_data() == op {
                    first.get_or_insert(done.result());
                    over = !io_uring::cqueue::more(done.flags());
                }
            }
            if over {
                return Ok(first.expect("it completed"));
            }
            if first.is_some() && !cancelled {
                cancelled = true;
                self.cancel(op);
            }
        }
    }

    fn push(&mut self, entry: Entry) {
        // SAFETY: [entry-lent] it lends descriptors, and a group that outlives it; `first_result` waits for its end.
        let pushed = unsafe { self.ring.submission().push(&entry) };
        pushed.expect("the queue is empty between operations");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn newer_capabilities_imply_those_they_stand_on() {
        let Ok(found) = Capabilities::probe() else {
            println!("SKIP newer_capabilities_imply_those_they_stand_on: needs io_uring");
            return;
        };
        assert!(!found.incremental || found.buffer_groups);
        assert!(!found.bundles || found.recv_multi);
        assert!(!found.recv_multi || found.poll_multi);
    }
}
