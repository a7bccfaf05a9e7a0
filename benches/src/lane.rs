//! One ring: how it is set up, how entries get in, how the kernel is entered.
#![allow(unsafe_code, reason = "hands entries that name memory to the kernel")]

use std::io;

use io_uring::{CompletionQueue, EnterFlags, IoUring, SubmissionQueue, Submitter, cqueue, opcode, squeue};

/// How a ring is to be built.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Entries of the submission queue.
    pub entries: u32,
    /// Entries of the completion queue.
    pub completions: u32,
    /// Whether the kernel shows in shared memory that deferred work waits, for a spinning owner.
    pub taskrun_flag: bool,
}

impl Setup {
    /// Builds the ring with the best flags that this kernel knows.
    ///
    /// The text names the rung: `defer+nosqarray`, `defer`, `coop` or `plain`.
    ///
    /// # Errors
    /// What the lowest rung failed with.
    pub fn build(self) -> io::Result<(IoUring, &'static str)> {
        let mut last = io::Error::from_raw_os_error(libc::EINVAL);
        for rung in ["defer+nosqarray", "defer", "coop", "plain"] {
            let mut builder = IoUring::builder();
            builder.setup_cqsize(self.completions).setup_clamp();
            if rung != "plain" {
                builder.setup_submit_all();
            }
            match rung {
                "defer+nosqarray" => {
                    builder.setup_single_issuer().setup_defer_taskrun().setup_no_sqarray();
                }
                "defer" => {
                    builder.setup_single_issuer().setup_defer_taskrun();
                }
                "coop" => {
                    builder.setup_coop_taskrun().setup_taskrun_flag();
                }
                _ => {}
            }
            if self.taskrun_flag && rung.starts_with("defer") {
                builder.setup_taskrun_flag();
            }
            match builder.build(self.entries) {
                Ok(ring) => return Ok((ring, rung)),
                Err(error) => last = error,
            }
        }
        Err(last)
    }
}

/// The way into a ring: entries are pushed, then one enter submits and waits.
pub struct Lane<'ring> {
    submitter: Submitter<'ring>,
    queue: SubmissionQueue<'ring>,
}

impl<'ring> Lane<'ring> {
    /// Splits `ring` into the way in and the way out.
    pub fn open(ring: &'ring mut IoUring) -> (Self, CompletionQueue<'ring>) {
        let (mut submitter, queue, completions) = ring.split();
        // Saves a descriptor look-up per enter; an older kernel does without.
        let _ = submitter.register_ring_fd();
        (Self { submitter, queue }, completions)
    }

    /// For registrations.
    #[must_use]
    pub fn submitter(&self) -> &Submitter<'ring> {
        &self.submitter
    }

    /// Whether there are entries that the kernel has not seen.
    #[must_use]
    pub fn has_queued(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether the kernel says that an enter would find deferred work.
    #[must_use]
    pub fn has_deferred(&self) -> bool {
        self.queue.taskrun() || self.queue.cq_overflow()
    }

    /// Queues `entry`; a full queue is submitted first.
    ///
    /// # Safety
    /// - All memory that `entry` names stays valid, and is used by nobody else in a way that
    ///   conflicts, until the last completion of `entry`. [bench-lent]
    ///
    /// # Errors
    /// Those of the enter that makes room.
    #[inline]
    pub unsafe fn push(&mut self, entry: &squeue::Entry) -> io::Result<()> {
        if self.queue.is_full() {
            self.submit(0, EnterFlags::empty())?;
        }
        // SAFETY: [bench-lent] the caller promises what `push` asks for, in the same words.
        let pushed = unsafe { self.queue.push(entry) };
        pushed.map_err(|_| io::Error::other("the kernel took no entry from a full queue"))
    }

    /// Queues the closing of a descriptor; only its failure completes.
    ///
    /// # Errors
    /// Those of the enter that makes room.
    pub fn push_close(&mut self, target: Target) -> io::Result<()> {
        let entry = match target {
            Target::Direct(slot) => opcode::Close::new(io_uring::types::Fixed(slot)).build(),
            Target::Normal(fd) => opcode::Close::new(io_uring::types::Fd(fd)).build(),
        };
        let entry = entry.flags(squeue::Flags::SKIP_SUCCESS).user_data(u64::MAX);
        // SAFETY: [bench-lent] a close names no memory.
        unsafe { self.push(&entry) }
    }

    /// Submits what is queued, runs deferred work and waits until `want` completions are there.
    ///
    /// # Errors
    /// Anything but an interruption or a full completion queue: after those the caller reaps.
    #[inline]
    pub fn enter(&mut self, want: u32) -> io::Result<()> {
        self.submit(want, EnterFlags::GETEVENTS)
    }

    fn submit(&mut self, want: u32, flags: EnterFlags) -> io::Result<()> {
        self.queue.sync();
        let queued = u32::try_from(self.queue.len()).expect("a ring has at most 32768 entries");
        // SAFETY: [bench-lent] the entries were published by `push`, `queued` is their number, and
        // no argument is passed.
        let entered = unsafe { self.submitter.enter::<libc::sigset_t>(queued, want, flags.bits(), None) };
        self.queue.sync();
        match entered {
            Ok(_) => Ok(()),
            Err(error) => match error.raw_os_error() {
                Some(libc::EINTR | libc::EBUSY | libc::EAGAIN) => Ok(()),
                _ => Err(error),
            },
        }
    }
}

/// A descriptor as the ring names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// A slot of the registered table.
    Direct(u32),
    /// A descriptor of the process.
    Normal(i32),
}

impl Target {
    /// The descriptor number to build an entry with; [`Self::mark`] says which kind it is.
    #[must_use]
    pub fn fd(self) -> io_uring::types::Fd {
        match self {
            Self::Direct(slot) => io_uring::types::Fd(i32::try_from(slot).expect("slots fit a descriptor")),
            Self::Normal(fd) => io_uring::types::Fd(fd),
        }
    }

    /// Tells the kernel which table the number belongs to.
    #[must_use]
    pub fn mark(self, entry: squeue::Entry) -> squeue::Entry {
        match self {
            Self::Direct(_) => entry.flags(squeue::Flags::FIXED_FILE),
            Self::Normal(_) => entry,
        }
    }
}

/// What a completion says, copied out.
#[derive(Clone, Copy, Debug)]
pub struct Outcome {
    /// Non-negative: the result. Negative: minus the error number.
    pub result: i32,
    /// The kernel's flags.
    pub flags: u32,
}

impl Outcome {
    /// Copies the result and the flags.
    #[must_use]
    pub fn of(entry: &cqueue::Entry) -> Self {
        Self { result: entry.result(), flags: entry.flags() }
    }

    /// Whether the request goes on and completes again.
    #[must_use]
    pub fn more(self) -> bool {
        cqueue::more(self.flags)
    }

    /// The number of bytes, or why there are none.
    ///
    /// # Errors
    /// The error that the kernel reported.
    pub fn bytes(self) -> io::Result<usize> {
        usize::try_from(self.result).map_err(|_| io::Error::from_raw_os_error(-self.result))
    }
}
