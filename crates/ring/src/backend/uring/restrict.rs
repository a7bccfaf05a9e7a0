//! A ring that does what Coronet asks of rings, and nothing else, for good.
//!
//! Whoever gets hold of the ring's descriptor, or of its memory, can have the kernel carry out what
//! no filter of system calls sees. A restricted ring answers `EACCES` to all but the operations of
//! `encode.rs` and the registrations of this directory.

use std::io;

use io_uring::register::{Probe, Restriction};
use io_uring::{IoUring, opcode};

/// What `encode.rs` makes of requests, and what the ring submits for itself.
const OPERATIONS: [u8; 14] = [
    opcode::Nop::CODE,
    opcode::Accept::CODE,
    opcode::Connect::CODE,
    opcode::Recv::CODE,
    opcode::Send::CODE,
    opcode::SendMsg::CODE,
    opcode::Close::CODE,
    opcode::Timeout::CODE,
    opcode::PollAdd::CODE,
    opcode::AsyncCancel::CODE,
    opcode::MsgRingData::CODE,
    opcode::Read::CODE,
    opcode::Write::CODE,
    opcode::SendZc::CODE,
];

/// `IOSQE_FIXED_FILE` and `IOSQE_BUFFER_SELECT`
const FLAGS: u8 = 1 << 0 | 1 << 5;

/// `IORING_UNREGISTER_FILES`, `IORING_REGISTER_EVENTFD` and its opposite, `IORING_REGISTER_FILES_UPDATE`: those
/// of 5.11.
const REGISTRATIONS: [u8; 4] = [3, 4, 5, 6];
/// `IORING_REGISTER_FILES2` (5.13), `IORING_REGISTER_PBUF_RING` and its opposite (5.19).
const NEWER_REGISTRATIONS: [u8; 3] = [13, 22, 23];

/// Restricts a ring that was set up disabled, and enables it. From here on it belongs to this thread.
pub(crate) fn lock(ring: &IoUring) -> io::Result<()> {
    let submitter = ring.submitter();
    let mut known = Probe::new();
    submitter.register_probe(&mut known)?;
    let allowed: Vec<_> = OPERATIONS.into_iter().filter(|code| known.is_supported(*code)).collect();
    let rules = |registrations: &[u8]| {
        let operations = allowed.iter().copied().map(Restriction::sqe_op);
        let registrations = registrations.iter().copied().map(Restriction::register_op);
        let mut rules: Vec<_> = operations.chain(registrations).collect();
        rules.push(Restriction::sqe_flags_allowed(FLAGS));
        rules
    };
    let newer = [&REGISTRATIONS[..], &NEWER_REGISTRATIONS].concat();
    match submitter.register_restrictions(&mut rules(&newer)) {
        // A kernel that does not know a registration cannot allow it.
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            submitter.register_restrictions(&mut rules(&REGISTRATIONS))?;
        }
        other => other?,
    }
    submitter.register_enable_rings()
}
