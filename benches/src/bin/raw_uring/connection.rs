//! One connection: what was received and not yet sent back, in order.

use std::collections::VecDeque;
use std::ptr;

use coronet_benches::buffers::{Buffers, Segment};
use coronet_benches::lane::Target;
use io_uring::{opcode, squeue};

/// Pieces that one send takes at most.
const PIECES_MAX: usize = 64;

/// The state of one connection.
#[derive(Default)]
pub(crate) struct Connection {
    /// A receive is armed.
    pub(crate) receiving: bool,
    /// Nothing more will be received; close when all is sent.
    pub(crate) ending: bool,
    /// Waits for buffers to receive into.
    pub(crate) starved: bool,
    /// A send is with the kernel.
    pub(crate) sending: bool,
    queue: VecDeque<Segment>,
    // Boxed, so that it stays where it is while the kernel reads it.
    gather: Option<Box<Gather>>,
}

/// The pieces of a send, as the kernel wants them.
struct Gather {
    pieces: [libc::iovec; PIECES_MAX],
    header: libc::msghdr,
}

impl Connection {
    /// Whether nothing is with the kernel and nothing is left to do.
    pub(crate) fn is_done(&self) -> bool {
        self.ending && !self.receiving && !self.sending && self.queue.is_empty()
    }

    /// Queues received bytes.
    pub(crate) fn push(&mut self, segment: Segment) {
        self.queue.push_back(segment);
    }

    /// Whether a send can start.
    pub(crate) fn wants_send(&self) -> bool {
        !self.sending && !self.queue.is_empty()
    }

    /// How many pieces are queued.
    pub(crate) fn queued(&self) -> usize {
        self.queue.len()
    }

    /// A send of all that is queued, as far as one entry can name it.
    ///
    /// Pieces that touch in memory become one: without gaps, a plain send does.
    pub(crate) fn send(&mut self, buffers: &Buffers, target: Target) -> squeue::Entry {
        let flags = libc::MSG_WAITALL | libc::MSG_NOSIGNAL;
        self.sending = true;
        let first = self.queue[0];
        let mut end = first.offset + first.len;
        let mut rest = 1;
        while let Some(next) = self.queue.get(rest).filter(|next| next.offset == end) {
            end += next.len;
            rest += 1;
        }
        if rest == self.queue.len() {
            let send = opcode::Send::new(target.fd(), buffers.address(first), end - first.offset);
            return target.mark(send.flags(flags).build());
        }
        let gather = self.gather.get_or_insert_with(Gather::new);
        let count = gather.fill(&self.queue, buffers);
        gather.header.msg_iov = gather.pieces.as_mut_ptr();
        gather.header.msg_iovlen = count;
        let send = opcode::SendMsg::new(target.fd(), &raw const gather.header);
        target.mark(send.flags(flags.cast_unsigned()).build())
    }

    /// Takes `count` sent bytes off the queue and gives their buffers back.
    pub(crate) fn sent(&mut self, mut count: u32, buffers: &mut Buffers) {
        while count > 0 {
            let first = self.queue.front_mut().expect("no more is sent than was queued");
            if count < first.len {
                first.offset += count;
                first.len -= count;
                return;
            }
            count -= first.len;
            let first = *first;
            self.queue.pop_front();
            buffers.release(first);
        }
    }

    /// Forgets what is queued and gives the buffers back.
    pub(crate) fn discard(&mut self, buffers: &mut Buffers) {
        for segment in self.queue.drain(..) {
            buffers.release(segment);
        }
    }

    /// Makes the slot ready for the next connection; keeps what is allocated.
    pub(crate) fn reset(&mut self) {
        assert!(self.queue.is_empty(), "a closed connection holds buffers");
        self.receiving = false;
        self.ending = false;
        self.starved = false;
        self.sending = false;
    }
}

impl Gather {
    fn new() -> Box<Self> {
        let empty = libc::iovec { iov_base: ptr::null_mut(), iov_len: 0 };
        let header = libc::msghdr {
            msg_name: ptr::null_mut(),
            msg_namelen: 0,
            msg_iov: ptr::null_mut(),
            msg_iovlen: 0,
            msg_control: ptr::null_mut(),
            msg_controllen: 0,
            msg_flags: 0,
        };
        Box::new(Self { pieces: [empty; PIECES_MAX], header })
    }

    /// Writes the pieces, says how many there are.
    fn fill(&mut self, queue: &VecDeque<Segment>, buffers: &Buffers) -> usize {
        let mut count: usize = 0;
        let mut end = u32::MAX;
        for segment in queue {
            if segment.offset == end {
                self.pieces[count - 1].iov_len += segment.len as usize;
            } else if count == PIECES_MAX {
                break;
            } else {
                let base = buffers.address(*segment).cast_mut().cast();
                self.pieces[count] = libc::iovec { iov_base: base, iov_len: segment.len as usize };
                count += 1;
            }
            end = segment.offset + segment.len;
        }
        count
    }
}
