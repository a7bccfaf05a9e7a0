//! Options of a connection, and its abrupt end, on the real kernel.

mod support;

use std::io::{ErrorKind, Read};
use std::time::{Duration, Instant};

use futures_util::future::poll_immediate;
use support::{beside, hang, pair, world};

#[test]
fn options_are_what_they_were_set_to() {
    world(async {
        let (stream, _peer) = pair();
        assert_eq!(stream.user_timeout().unwrap(), None);
        stream.set_user_timeout(Some(Duration::from_millis(1500))).unwrap();
        assert_eq!(stream.user_timeout().unwrap(), Some(Duration::from_millis(1500)));
        stream.set_user_timeout(None).unwrap();
        assert_eq!(stream.user_timeout().unwrap(), None);
        assert_eq!(stream.linger().unwrap(), None);
        stream.set_linger(Some(Duration::ZERO)).unwrap();
        assert_eq!(stream.linger().unwrap(), Some(Duration::ZERO));
        stream.set_keepalive(Duration::from_secs(10), Duration::from_secs(2)).unwrap();
        let raw = socket2::SockRef::from(&stream);
        assert!(raw.keepalive().unwrap());
        assert_eq!(raw.tcp_keepalive_time().unwrap(), Duration::from_secs(10));
        assert_eq!(raw.tcp_keepalive_interval().unwrap(), Duration::from_secs(2));
    });
}

#[test]
fn a_reset_is_what_the_peer_sees() {
    world(async {
        let (stream, mut peer) = pair();
        stream.write_all("unread").await.0.unwrap();
        stream.reset().unwrap();
        let error = beside(move || peer.read_to_end(&mut Vec::new())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    });
}

/// The trap: the kernel still holds the socket for a write that its peer does not take, and
/// for a receive; closing would wait for the write.
#[test]
fn a_reset_does_not_wait_for_a_write_that_the_peer_does_not_take() {
    world(async {
        let (stream, mut peer) = pair();
        assert!(poll_immediate(stream.recv()).await.is_none());
        assert!(poll_immediate(stream.write_all(vec![7; 64 << 20])).await.is_none());
        // Beside the core, which has to hand the write over first.
        let mut peer = beside(move || peer.read_exact(&mut [0; 1000]).map(|()| peer)).await.unwrap();
        let start = Instant::now();
        stream.reset().unwrap();
        let error = beside(move || peer.read_to_end(&mut Vec::new())).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionReset);
        assert!(start.elapsed() < hang() / 2, "{:?}", start.elapsed());
    });
}
