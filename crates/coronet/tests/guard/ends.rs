//! Runtimes that end with operations in flight.

use std::io::{Read, Write};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use coronet::net::TcpListener;
use coronet::ring::{SharedFd, current, op};
use coronet::task::yield_now;
use coronet::{Backend, Runtime};
use futures_util::future::poll_immediate;

use crate::support::{alone, assert_descriptors, open_descriptors, pair};
use crate::worlds::{assert_no_fault, runtime};

/// Operations of each kind.
const EACH: usize = 50;

fn unix() -> (SharedFd, UnixStream) {
    let (ours, peer) = UnixStream::pair().unwrap();
    (SharedFd::new(OwnedFd::from(ours)), peer)
}

#[test]
fn a_runtime_that_ends_frees_only_what_the_kernel_is_done_with() {
    let _alone = alone();
    for backend in [Backend::Uring, Backend::Epoll] {
        let before = open_descriptors();
        let Some(runtime) = runtime(backend) else { continue };
        let (handle, mut peers, mut writers) = runtime.block_on(async {
            let handle = current().handle().clone();
            let (mut peers, mut writers) = (Vec::new(), Vec::new());
            for _ in 0..EACH {
                let (socket, peer) = unix();
                peers.push(peer);
                // One that is orphaned, one that a task waits for.
                drop(handle.submit(op::Recv::new(socket.clone(), Vec::with_capacity(5_000), 0)));
                let recv = handle.submit(op::Recv::new(socket, Vec::with_capacity(5_000), 0));
                drop(coronet::spawn(async move { drop(recv.await) }));
                let (reader, writer) = std::io::pipe().unwrap();
                writers.push(writer);
                let read = op::ReadAt::new(SharedFd::new(reader.into()), Vec::with_capacity(100), u64::MAX);
                let read = handle.submit(read);
                drop(coronet::spawn(async move { drop(read.await) }));
                let timer = handle.submit(op::Timeout::new(Duration::from_secs(1_000)));
                drop(coronet::spawn(timer));
                let (stream, _peer) = pair();
                drop(coronet::spawn(async move { drop(stream.read(Vec::with_capacity(5_000)).await) }));
                let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                drop(coronet::spawn(async move { drop(listener.accept().await) }));
            }
            yield_now().await;
            yield_now().await;
            (handle, peers, writers)
        });
        // Half of them get their bytes in the moment of the end.
        for (peer, writer) in peers.iter_mut().zip(&mut writers).step_by(2) {
            peer.write_all(&[0xa5; 5_000]).unwrap();
            writer.write_all(&[0xa5; 100]).unwrap();
        }
        drop(runtime);
        let stats = handle.stats();
        assert_eq!((stats.in_flight, stats.leaked), (0, 0), "{stats:?}");
        assert_no_fault(&stats);
        drop((handle, peers, writers));
        assert_descriptors(before);
    }
}

/// The trap: the drain is over, the kernel is not, and the buffer of the send is freed.
#[test]
fn what_a_runtime_leaks_at_its_deadline_is_memory_that_stays() {
    const LEN: usize = 8 << 20;
    let _alone = alone();
    for backend in [Backend::Uring, Backend::Epoll] {
        if runtime(backend).is_none() {
            continue;
        }
        let drain = Duration::from_millis(50);
        let runtime = Runtime::builder().backend(backend).drain_timeout(drain).build().unwrap();
        let (handle, mut peer) = runtime.block_on(async {
            let (socket, peer) = unix();
            let handle = current().handle().clone();
            let mut send = handle.submit(op::Send::new(socket, vec![0xa5; LEN], 0x100));
            assert!(poll_immediate(&mut send).await.is_none());
            drop(send);
            yield_now().await;
            (handle, peer)
        });
        drop(runtime);
        assert_no_fault(&handle.stats());
        // What still comes is what was sent.
        peer.set_nonblocking(true).unwrap();
        let mut bytes = vec![0; LEN];
        let count = peer.read(&mut bytes).unwrap();
        assert!(count > 0 && bytes[..count].iter().all(|byte| *byte == 0xa5));
    }
}
