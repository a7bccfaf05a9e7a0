//! What `docs/OPS.md` says of each request, beside the list of requests: a new variant does not compile
//! without its row. `cargo xtask docs` reads this file; the first kernel stands at the variant itself.

use super::Request;

/// One row.
struct Facts {
    /// `IORING_OP_*`, and what else the entry says.
    opcode: &'static str,
    /// How the epoll backend does it.
    epoll: &'static str,
    /// How the simulated kernel does it.
    simulated: &'static str,
    /// What a result owns that comes when nobody waits any more. Dropping the output gives it back.
    late: &'static str,
}

const fn row(
    opcode: &'static str,
    epoll: &'static str,
    simulated: &'static str,
    late: &'static str,
) -> Facts {
    Facts { opcode, epoll, simulated, late }
}

fn facts(request: &Request<'_>) -> Facts {
    match request {
        Request::Nop => row("NOP", "completes at once", "completes", "nothing"),
        Request::Accept { .. } => row(
            "ACCEPT",
            "`accept4`, again when readable",
            "takes from the backlog",
            "the connection, which is closed",
        ),
        Request::AcceptMulti { .. } => row(
            "ACCEPT, multishot",
            "`accept4` as often as there is a client",
            "takes from the backlog, and may end at any time",
            "the connections, which are closed",
        ),
        Request::Connect { .. } => row(
            "CONNECT",
            "`connect` without waiting, the result when writable",
            "a handshake with the latency of the network",
            "nothing; the socket is the operation's",
        ),
        Request::Recv { .. } => row(
            "RECV",
            "`recv` with `MSG_DONTWAIT`, again when readable",
            "any part of what arrived, unless `MSG_WAITALL` asks for all",
            "the operation's buffer, and the bytes in it",
        ),
        Request::RecvMulti { .. } => row(
            "RECV, multishot, from a group; a bundle if asked for",
            "`recv` into the next buffer of the group; one buffer per completion",
            "as Recv, into a buffer of the group; may end at any time",
            "the picked buffers, which return to the group, also with an error",
        ),
        Request::Send { .. } => row(
            "SEND",
            "`send` with `MSG_DONTWAIT`, again when writable",
            "takes any part, unless `MSG_WAITALL` asks for all",
            "the operation's buffer",
        ),
        Request::SendZc { .. } => row(
            "SEND_ZC, with a report of its use if asked for",
            "as Send: it copies, and no notification follows",
            "as Send, and reads the bytes again until the notification, which comes late",
            "the operation's buffer, until the notification",
        ),
        Request::SendMessage { .. } => row(
            "SENDMSG",
            "`sendmsg` with `MSG_DONTWAIT`, again when writable",
            "as Send",
            "the operation's buffers, header and list of slices",
        ),
        Request::Close { .. } => {
            row("CLOSE", "`close` at once", "closes", "nothing; the descriptor, if the ring refused it")
        }
        Request::Timeout { .. } => row("TIMEOUT", "one timerfd for all", "simulated time", "nothing"),
        Request::Poll { .. } => {
            row("POLL_ADD", "`poll`, again after an event", "looks at the object", "nothing")
        }
        Request::PollMulti { .. } => row(
            "POLL_ADD, multishot",
            "`poll` after each event",
            "looks at each change, and may end at any time",
            "nothing",
        ),
        Request::Cancel { .. } => row(
            "ASYNC_CANCEL",
            "takes it off the waiting list; a file operation that began is not cancelled",
            "wins, loses or ties",
            "nothing",
        ),
        Request::MsgRing { .. } => row("MSG_RING", "`EOPNOTSUPP`", "posts to the other ring", "nothing"),
        Request::Read { .. } => row(
            "READ",
            "`preadv2` with `RWF_NOWAIT`, then a thread",
            "a file or a pipe; any part, later",
            "the operation's buffer, and the bytes in it",
        ),
        Request::Write { .. } => row(
            "WRITE",
            "`pwritev2` with `RWF_NOWAIT`, then a thread",
            "a file or a pipe; any part, later",
            "the operation's buffer",
        ),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::os::fd::{AsFd, BorrowedFd};
    use std::time::Duration;

    use super::{Request, facts};
    use crate::backend::uring::encode::encode;
    use crate::fd::SharedFd;
    use crate::pool::GroupId;
    use crate::span::{MessageSpace, Span, SpanMut};
    use crate::token::Token;

    /// As the kernel numbers them, in `include/uapi/linux/io_uring.h`.
    const OPCODES: [(&str, u8); 14] = [
        ("NOP", 0),
        ("POLL_ADD", 6),
        ("SENDMSG", 9),
        ("TIMEOUT", 11),
        ("ACCEPT", 13),
        ("ASYNC_CANCEL", 14),
        ("CONNECT", 16),
        ("CLOSE", 19),
        ("READ", 22),
        ("WRITE", 23),
        ("SEND", 26),
        ("RECV", 27),
        ("MSG_RING", 40),
        ("SEND_ZC", 47),
    ];

    /// One of each, with memory that is never given back.
    fn requests() -> Vec<Request<'static>> {
        let null: &'static File = Box::leak(Box::new(File::open("/dev/null").expect("a device")));
        let fd: BorrowedFd<'static> = null.as_fd();
        let own = || fd.try_clone_to_owned().expect("a descriptor");
        let socket: &'static SharedFd = Box::leak(Box::new(SharedFd::new(own())));
        let room = || SpanMut::over(Box::leak(Box::new([0; 8])));
        let from = || Span::new(b"bytes");
        let space: &'static mut MessageSpace = Box::leak(Box::new(MessageSpace::new()));
        let after = Box::leak(Box::new(Duration::from_secs(1).into()));
        let group = GroupId::new(0, 0);
        vec![
            Request::Nop,
            Request::Accept { listener: fd },
            Request::AcceptMulti { listener: fd },
            Request::Connect { socket: fd, address: from() },
            Request::Recv { socket: fd, into: room(), flags: 0 },
            Request::RecvMulti { socket: fd, group, bundle: false },
            Request::RecvMulti { socket: fd, group, bundle: true },
            Request::Send { socket: socket.target(), from: from(), flags: 0 },
            Request::SendZc { socket: socket.target(), from: from(), flags: 0, report: true },
            Request::SendMessage {
                socket: socket.target(),
                message: space.gather([b"bytes".as_slice()].into_iter()),
                flags: 0,
            },
            Request::Close { fd: Box::leak(Box::new(Some(own()))) },
            Request::Timeout { after },
            Request::Poll { fd, events: 1 },
            Request::PollMulti { fd, events: 1 },
            Request::Cancel { target: Token::new(1, 1) },
            Request::MsgRing { ring: fd, result: 0 },
            Request::Read { file: fd, into: room(), at: 0 },
            Request::Write { file: fd, from: from(), at: 0 },
        ]
    }

    #[test]
    fn the_opcode_of_the_page_is_the_one_that_is_published() {
        for request in requests() {
            let name = facts(&request).opcode.split(',').next().expect("a name");
            let (_, number) = OPCODES.iter().find(|(known, _)| *known == name).expect("a known opcode");
            let what = format!("{request:?}");
            let entry = format!("{:?}", encode(request, None));
            assert!(entry.contains(&format!("op_code: {number},")), "{what}: {name}, and not {entry}");
        }
    }

    #[test]
    fn every_cell_of_the_page_says_something() {
        for request in requests() {
            let facts = facts(&request);
            for cell in [facts.opcode, facts.epoll, facts.simulated, facts.late] {
                assert!(!cell.is_empty() && !cell.contains('|'), "{request:?}: {cell:?}");
            }
        }
    }
}
