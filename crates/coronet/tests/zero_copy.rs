//! What is lent to the network on the real kernel: a peer that does not read, and memory that may not be locked.

mod support;

use std::io::Read;
use std::rc::Rc;

use coronet::metrics;
use futures_util::future::poll_immediate;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::thread::{CapabilitySet, capabilities, set_capabilities};
use socket2::SockRef;
use support::{pair, world};

/// More than a peer that does not read takes, and less than the sender queues.
const BYTES: usize = 256 * 1024;
/// Pages that may be locked, in bytes: Linux's default.
const LOCKED_MAX: u64 = 8 << 20;

fn lends() -> bool {
    coronet::ring::current().handle().capabilities().send_zc
}

#[test]
fn the_next_write_does_not_wait_for_a_peer_that_reads_nothing() {
    world(async {
        let (stream, mut peer) = pair();
        SockRef::from(&peer).set_recv_buffer_size(64 * 1024).unwrap();
        SockRef::from(&stream).set_send_buffer_size(4 << 20).unwrap();
        let mut send = stream.send_zc(vec![7_u8; BYTES]);
        assert_eq!(send.sent().await.unwrap(), BYTES);
        stream.write_all("behind").await.0.unwrap();
        if lends() {
            assert!(poll_immediate(&mut send).await.is_none(), "the network has the buffer");
            assert_eq!(metrics().zero_copy_lent, 1);
        }
        let reader = std::thread::spawn(move || {
            let mut bytes = vec![0; BYTES + 6];
            peer.read_exact(&mut bytes).map(|()| (bytes, peer))
        });
        let (result, bytes) = send.await;
        assert_eq!((result.unwrap(), bytes.len()), (BYTES, BYTES));
        let (read, _peer) = reader.join().unwrap().unwrap();
        assert!(read[..BYTES].iter().all(|byte| *byte == 7) && read.ends_with(b"behind"));
        let now = metrics();
        assert_eq!((now.zero_copy_sent, now.zero_copy_lent), (u64::from(lends()), 0));
    });
}

/// The trap: the limit that the kernel refuses with is none of the user's business.
#[test]
fn what_may_not_be_locked_is_copied() {
    // On a thread of its own: what it gives up does not come back.
    let test = std::thread::spawn(|| {
        let mut own = capabilities(None).unwrap();
        own.effective.remove(CapabilitySet::IPC_LOCK);
        set_capabilities(None, own).unwrap();
        let limit = getrlimit(Resource::Memlock);
        if limit.current.is_none_or(|current| current > LOCKED_MAX) {
            setrlimit(Resource::Memlock, Rlimit { current: Some(LOCKED_MAX), ..limit }).unwrap();
        }
        world(async {
            let (stream, mut peer) = pair();
            let bytes: Rc<[u8]> = vec![7; 2 * LOCKED_MAX as usize].into();
            let len = bytes.len();
            let reader = std::thread::spawn(move || {
                let mut count = 0;
                let mut piece = vec![0; 1 << 20];
                while count < 3 * len {
                    let read = peer.read(&mut piece).unwrap();
                    assert!(read > 0 && piece[..read].iter().all(|byte| *byte == 7));
                    count += read;
                }
                (count, peer)
            });
            // By itself, told to, and by itself once it is known that it cannot be.
            let (result, bytes) = stream.write(bytes).await;
            assert_eq!(result.unwrap(), len);
            let (result, bytes) = stream.send_zc(bytes).await;
            assert_eq!(result.unwrap(), len);
            let (result, bytes) = stream.write(bytes).await;
            assert_eq!(result.unwrap(), len);
            let (count, _peer) = reader.join().unwrap();
            assert_eq!(count, 3 * len);
            assert_eq!(Rc::strong_count(&bytes), 1, "nothing has kept a part");
            assert_eq!(metrics().zero_copy_sent, 0, "the kernel lent what it was not allowed to lock");
        });
    });
    test.join().unwrap();
}
