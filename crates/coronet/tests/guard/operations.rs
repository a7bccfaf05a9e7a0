//! Single operations whose future is dropped: before the kernel has them, with them in the kernel, and
//! with their result on its way.

use std::cell::Cell;
use std::fs::File;
use std::future::Future;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::time::Duration;

use coronet::ring::{Done, Handle, OnDrop, Op, Request, SharedFd, SpanMut, current, op};
use coronet::task::yield_now;
use futures_util::future::poll_immediate;

use crate::support::{Sequence, beside, settle};
use crate::worlds::on_each_backend;

/// Races per test and backend.
const ROUNDS: usize = 400;
/// More than a Unix socket holds, so that a send has to wait for its peer.
const LONG: usize = 1 << 20;

fn handle() -> Handle {
    current().handle().clone()
}

/// Drops `future` at one of four moments around `effect`, which lets it come to its end; or, at the
/// fifth, waits for it.
async fn drop_around<F: Future>(
    future: F,
    sequence: &mut Sequence,
    effect: impl FnOnce(),
) -> Option<F::Output> {
    let mut future = Box::pin(future);
    let moment = sequence.below(5);
    if moment > 0
        && let Some(output) = poll_immediate(&mut future).await
    {
        effect();
        return Some(output);
    }
    if moment > 1 {
        yield_now().await;
    }
    match moment {
        0..=2 => drop(future),
        3 => {
            effect();
            drop(future);
            return None;
        }
        _ => {
            effect();
            return Some(future.await);
        }
    }
    effect();
    None
}

fn unix() -> (SharedFd, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    (SharedFd::new(OwnedFd::from(ours)), peer)
}

#[test]
fn a_receive_that_is_dropped_keeps_its_buffer_until_the_kernel_is_done() {
    on_each_backend(|| async {
        let (handle, mut sequence) = (handle(), Sequence::new(20));
        let mut received = 0;
        for _ in 0..ROUNDS {
            let (socket, mut peer) = unix();
            let room = 1 + sequence.below(9_000) as usize;
            let recv = handle.submit(op::Recv::new(socket, Vec::with_capacity(room), 0));
            let output = drop_around(recv, &mut sequence, || peer.write_all(&[0xa5; 9_000]).unwrap()).await;
            if let Some((result, bytes)) = output {
                assert_eq!(result.unwrap(), bytes.len());
                assert!(bytes.len() == room && bytes.iter().all(|byte| *byte == 0xa5));
                received += 1;
            }
        }
        assert!(received > ROUNDS / 10, "only {received} were awaited");
    });
}

/// Receives also if nobody waits, and counts that it did.
struct LateRecv {
    socket: SharedFd,
    bytes: Vec<u8>,
    filled: Rc<Cell<usize>>,
}

impl Op for LateRecv {
    type Output = ();

    const ON_DROP: OnDrop = OnDrop::LetRun;

    fn request(&mut self) -> Request<'_> {
        Request::Recv { socket: self.socket.as_fd(), into: SpanMut::over(&mut self.bytes), flags: 0 }
    }

    fn finish(self, done: Done<Self>) {
        let count = done.value().map_or(0, |count| count as usize);
        if count > 0 && self.bytes[..count].iter().all(|byte| *byte == 0xa5) {
            self.filled.set(self.filled.get() + 1);
        }
    }
}

/// The trap: no cancel is sent, so the kernel writes for certain after the future is gone.
#[test]
fn a_receive_that_runs_on_fills_its_own_buffer_long_after_its_future() {
    on_each_backend(|| async {
        let (handle, mut sequence) = (handle(), Sequence::new(21));
        let filled = Rc::new(Cell::new(0));
        for _ in 0..ROUNDS {
            let (socket, mut peer) = unix();
            let bytes = vec![0; 1 + sequence.below(9_000) as usize];
            let recv = handle.submit(LateRecv { socket, bytes, filled: filled.clone() });
            drop_around(recv, &mut sequence, || peer.write_all(&[0xa5; 9_000]).unwrap()).await;
            // Here, so that it is certain that nobody waits when it is written.
            settle().await;
        }
        assert_eq!(filled.get(), ROUNDS);
    });
}

fn pattern(seed: u64) -> Vec<u8> {
    let mut sequence = Sequence::new(seed);
    (0..LONG).map(|_| sequence.below(256) as u8).collect()
}

/// Sends by `submit`, drops the future, and compares what the peer gets to the end.
async fn send_and_drop<O: Op>(rounds: usize, seed: u64, make: impl Fn(SharedFd, Vec<u8>) -> O) {
    let (handle, mut sequence) = (handle(), Sequence::new(seed));
    let sent = pattern(seed);
    for _ in 0..rounds {
        let (socket, mut peer) = unix();
        let send = handle.submit(make(socket, sent.clone()));
        let arrived = coronet::spawn(beside(move || {
            let mut bytes = Vec::new();
            peer.read_to_end(&mut bytes).map(|_| bytes)
        }));
        drop(drop_around(send, &mut sequence, || ()).await);
        let arrived = arrived.await.unwrap().unwrap();
        assert!(arrived == sent, "{} of {LONG} bytes, or others", arrived.len());
    }
}

/// `MSG_WAITALL`: only an error cuts the send short.
const ALL: i32 = 0x100;

#[test]
fn a_send_whose_future_is_dropped_arrives_whole() {
    on_each_backend(|| send_and_drop(40, 22, |socket, bytes| op::Send::new(socket, bytes, ALL)));
}

/// The trap: header and list of slices are memory, too.
#[test]
fn a_vectored_send_whose_future_is_dropped_arrives_whole() {
    on_each_backend(|| {
        send_and_drop(40, 23, |socket, mut bytes| {
            let (third, second) = (bytes.split_off(LONG / 2), bytes.split_off(1));
            op::SendVectored::new(socket, vec![bytes, second, third], ALL)
        })
    });
}

/// Bytes of the file that is read and written.
const FILE: usize = 64 * 1024;

fn file() -> (File, SharedFd) {
    let path = std::env::temp_dir().join(format!("coronet-guard-{}", std::process::id()));
    let file = File::options().read(true).write(true).create(true).truncate(true).open(&path).unwrap();
    // Without a name, nothing is left behind.
    std::fs::remove_file(path).unwrap();
    let shared = SharedFd::new(file.try_clone().unwrap().into());
    (file, shared)
}

#[test]
fn file_reads_that_are_dropped_touch_no_memory_afterwards() {
    on_each_backend(|| async {
        let (mut file, shared) = file();
        let content = &pattern(24)[..FILE];
        file.write_all(content).unwrap();
        let (handle, mut sequence) = (handle(), Sequence::new(24));
        for _ in 0..ROUNDS {
            let at = sequence.below(FILE as u64);
            let room = 1 + sequence.below(FILE as u64 - at) as usize;
            let read = handle.submit(op::ReadAt::new(shared.clone(), Vec::with_capacity(room), at));
            if let Some((result, bytes)) = drop_around(read, &mut sequence, || ()).await {
                assert_eq!(result.unwrap(), room);
                assert!(bytes == content[at as usize..][..room]);
            }
        }
        drop(file);
    });
}

/// A pipe has nothing to read at first, so the read is really with the kernel, or with a thread.
#[test]
fn reads_of_a_pipe_that_are_dropped_touch_no_memory_afterwards() {
    on_each_backend(|| async {
        let (handle, mut sequence) = (handle(), Sequence::new(25));
        for _ in 0..ROUNDS {
            let (reader, mut writer) = std::io::pipe().unwrap();
            let pipe = SharedFd::new(reader.into());
            let read = handle.submit(op::ReadAt::new(pipe, Vec::with_capacity(100), u64::MAX));
            let output = drop_around(read, &mut sequence, || drop(writer.write(&[0xa5; 100]))).await;
            assert!(output.is_none_or(|(result, bytes)| result.is_ok() && bytes == [0xa5; 100]));
        }
    });
}

#[test]
fn file_writes_whose_futures_are_dropped_write_their_own_bytes() {
    on_each_backend(|| async {
        const PIECE: usize = 3_000;
        let (file, shared) = file();
        let (handle, mut sequence) = (handle(), Sequence::new(26));
        for round in 0..ROUNDS {
            let bytes = vec![round as u8; PIECE];
            let write = handle.submit(op::WriteAt::new(shared.clone(), bytes, (round * PIECE) as u64));
            drop(drop_around(write, &mut sequence, || ()).await);
        }
        settle().await;
        let mut written = vec![0; ROUNDS * PIECE];
        std::os::unix::fs::FileExt::read_exact_at(&file, &mut written, 0).unwrap();
        for (round, piece) in written.chunks(PIECE).enumerate() {
            assert!(piece.iter().all(|byte| *byte == round as u8), "piece {round}");
        }
    });
}

#[test]
fn timeouts_and_polls_that_are_dropped_leave_nothing_behind() {
    on_each_backend(|| async {
        let (handle, mut sequence) = (handle(), Sequence::new(27));
        for _ in 0..ROUNDS {
            let after = Duration::from_micros(sequence.below(300));
            let timer = handle.submit(op::Timeout::new(after));
            assert!(drop_around(timer, &mut sequence, || ()).await.is_none_or(|result| result.is_ok()));
            let (socket, mut peer) = unix();
            let ready = handle.submit(op::Poll::new(socket, 1));
            let ready = drop_around(ready, &mut sequence, || peer.write_all(b"x").unwrap()).await;
            assert!(ready.is_none_or(|mask| mask.is_ok_and(|mask| mask & 1 == 1)));
        }
    });
}

#[test]
fn accepts_that_are_dropped_close_their_connection_or_leave_it_in_the_backlog() {
    on_each_backend(|| async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let listener = SharedFd::new(listener.into());
        let (handle, mut sequence) = (handle(), Sequence::new(28));
        for _ in 0..ROUNDS {
            let accept = handle.submit(op::Accept::new(listener.clone()));
            let connect = || drop(std::net::TcpStream::connect(address).unwrap());
            assert!(drop_around(accept, &mut sequence, connect).await.is_none_or(|fd| fd.is_ok()));
        }
    });
}
