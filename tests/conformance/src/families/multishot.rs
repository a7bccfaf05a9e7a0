//! Operations with many results: they pause, they end with a result, they run out of buffers, and whoever
//! waits does not notice.

use std::time::Duration;

use coronet::metrics;
use coronet::net::{Shutdown, TcpStream};
use coronet::ring::{SharedFd, op};
use coronet::time::sleep;
use futures_util::StreamExt;
use futures_util::future::poll_immediate;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{bytes_at, check, handle, listener, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(a_long_stream_survives_every_end_of_its_receive),
    promise!(clients_are_accepted_across_the_ends_of_the_accept),
    promise!(a_receive_pauses_for_a_slow_reader_and_goes_on),
    promise!(one_who_holds_every_buffer_stops_nobody),
    promise!(a_poll_reports_every_change_until_it_is_dropped),
];

async fn a_long_stream_survives_every_end_of_its_receive(kernel: Kernel) {
    let len = kernel.count(8 << 20, 60_000);
    let (stream, peer) = pair().await;
    let write = async {
        for start in (0..len).step_by(1 << 10) {
            peer.write_all(bytes_at(start, (len - start).min(1 << 10))).await.0.expect("the peer reads");
        }
        peer.shutdown(Shutdown::Write).expect("connected");
    };
    let ((), read) = coronet::join!(write, read_all(&stream, 0));
    assert_eq!(read, len);
}

async fn clients_are_accepted_across_the_ends_of_the_accept(kernel: Kernel) {
    let count = kernel.count(500, 40);
    let (listener, address) = listener().await;
    let clients: Vec<_> = (0..count)
        .map(|_| {
            coronet::spawn(async move {
                let stream = TcpStream::connect(address).await.expect("it listens");
                let (result, _) = stream.read_exact([0; 6]).await;
                result.expect("served");
            })
        })
        .collect();
    let mut incoming = std::pin::pin!(listener.incoming());
    for _ in 0..count {
        let stream = incoming.next().await.expect("it never ends").expect("the listener lives");
        stream.write_all("served").await.0.expect("the client waits");
    }
    for client in clients {
        client.await.expect("no panic");
    }
}

async fn a_receive_pauses_for_a_slow_reader_and_goes_on(_: Kernel) {
    const MESSAGES: usize = 100;
    let (stream, peer) = pair().await;
    peer.set_nodelay(true).expect("a socket");
    assert!(poll_immediate(stream.recv()).await.is_none(), "it is armed");
    for message in 0..MESSAGES {
        peer.write_all(bytes_at(message * 20, 20)).await.0.expect("connected");
        // So that each is a completion of its own.
        sleep(Duration::from_micros(50)).await;
    }
    peer.shutdown(Shutdown::Write).expect("connected");
    assert_eq!(read_all(&stream, 0).await, MESSAGES * 20);
}

async fn one_who_holds_every_buffer_stops_nobody(kernel: Kernel) {
    let (hoarder, peer) = pair().await;
    let (mut hoard, mut held, mut sent) = (Vec::new(), 0, 0);
    for _ in 0..kernel.count(300, 100) {
        let write = peer.write_all(bytes_at(sent, 9_000));
        sent += 9_000;
        let read = async {
            while held < sent {
                let lease = hoarder.recv().await.expect("no reset");
                held += lease.len();
                hoard.push(lease);
            }
        };
        let (written, ()) = coronet::join!(write, read);
        written.0.expect("the peer reads");
    }
    let leased = metrics().leased;
    let (other, peer_of_other) = pair().await;
    for round in 0..20 {
        peer_of_other.write_all(bytes_at(round * 10, 10)).await.0.expect("connected");
        let (result, bytes) = other.read_exact([0; 10]).await;
        result.expect("ten bytes");
        check(round * 10, &bytes);
    }
    assert!(metrics().leased <= leased + 1, "{:?}", metrics());
    let mut position = 0;
    for lease in hoard.drain(..) {
        check(position, &lease);
        position += lease.len();
    }
    assert_eq!(position, sent);
}

async fn a_poll_reports_every_change_until_it_is_dropped(kernel: Kernel) {
    if !handle().capabilities().poll_multi {
        return;
    }
    let (reader, writer) = kernel.pipe();
    let (reader, writer) = (SharedFd::new(reader), SharedFd::new(writer));
    let mut polls = handle().submit_multi(op::PollMulti::new(reader.clone(), libc::POLLIN as u32));
    for round in 0..10 {
        let (result, _) = handle().submit(op::WriteAt::new(writer.clone(), vec![7_u8; 3], u64::MAX)).await;
        assert!(result.expect("a pipe with a reader") > 0);
        // It may end at any item, and is submitted again.
        let ready = loop {
            match polls.next().await {
                Some(ready) => break ready,
                None => {
                    polls = handle().submit_multi(op::PollMulti::new(reader.clone(), libc::POLLIN as u32))
                }
            }
        };
        assert!(ready.expect("a pipe") & libc::POLLIN as u32 != 0, "round {round}");
        let read = op::ReadAt::new(reader.clone(), Vec::with_capacity(100), u64::MAX);
        assert!(handle().submit(read).await.0.expect("a pipe with bytes") > 0);
    }
}
