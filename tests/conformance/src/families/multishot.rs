//! Operations with many results: they pause, they end with a result, they run out of buffers, and whoever
//! waits does not notice.

use std::time::Duration;

use coronet::metrics;
use coronet::net::{Shutdown, TcpStream};
use coronet::ring::{OpStream, SharedFd, op};
use coronet::task::yield_now;
use coronet::time::{sleep, timeout};
use futures_util::StreamExt;
use futures_util::future::poll_immediate;

use crate::kernel::Kernel;
use crate::promise::{Promise, promise};
use crate::support::{bytes_at, check, handle, listener, pair, read_all};

pub(crate) const ALL: &[Promise] = &[
    promise!(a_long_stream_survives_every_end_of_its_receive),
    promise!(clients_are_accepted_across_the_ends_of_the_accept),
    promise!(a_receive_pauses_for_a_slow_reader_and_goes_on),
    promise!(a_peer_that_changes_its_traffic_at_any_byte_loses_none).every(4),
    promise!(one_who_holds_every_buffer_stops_nobody),
    promise!(a_poll_reports_every_change_until_it_is_dropped),
    promise!(a_poll_that_is_dropped_at_any_time_leaves_the_bytes_and_nothing_else),
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

/// Messages, a stream, silence, messages: the stream begins behind each byte of a payload in turn.
async fn a_peer_that_changes_its_traffic_at_any_byte_loses_none(kernel: Kernel) {
    const PAYLOAD: usize = 24;
    let (stream, peer) = pair().await;
    peer.set_nodelay(true).expect("a socket");
    let burst = kernel.count(300_000, 3_000);
    let write = async {
        let mut position = 0;
        let mut send = async |len: usize| {
            peer.write_all(bytes_at(position, len)).await.0.expect("the peer reads");
            position += len;
        };
        for offset in 0..=PAYLOAD {
            for _ in 0..offset {
                send(1).await;
            }
            send(burst).await;
            sleep(Duration::from_micros(200)).await;
            for _ in offset..PAYLOAD {
                send(1).await;
            }
        }
        peer.shutdown(Shutdown::Write).expect("connected");
        position
    };
    let read = async {
        let (mut position, mut round) = (0, 0);
        loop {
            round += 1;
            // Futures that are dropped, and reads of every kind, across all of it.
            if round % 5 == 0
                && let Some(lease) = poll_immediate(stream.recv()).await
            {
                let lease = lease.expect("no reset");
                check(position, &lease);
                position += lease.len();
            }
            let bytes = if round % 3 == 0 {
                let (result, bytes) = stream.read(Vec::with_capacity(700)).await;
                result.expect("no reset");
                bytes
            } else {
                stream.recv().await.expect("no reset").to_vec()
            };
            if bytes.is_empty() {
                return position;
            }
            check(position, &bytes);
            position += bytes.len();
        }
    };
    let (sent, received) = coronet::join!(write, read);
    assert_eq!(received, sent);
    let metrics = metrics();
    assert!(metrics.receives_to_messages <= metrics.receives_to_stream, "{metrics:?}");
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

/// Reports when a pipe can be read, again and again: one operation, or on kernels without it one each.
struct Polls {
    reader: SharedFd,
    stream: Option<OpStream<op::PollMulti>>,
}

impl Polls {
    fn new(reader: &SharedFd) -> Self {
        Self { reader: reader.clone(), stream: None }
    }

    async fn next(&mut self) -> u32 {
        let events = libc::POLLIN as u32;
        if !handle().capabilities().poll_multi {
            return handle().submit(op::Poll::new(self.reader.clone(), events)).await.expect("a pipe");
        }
        loop {
            let submit = || handle().submit_multi(op::PollMulti::new(self.reader.clone(), events));
            match self.stream.get_or_insert_with(submit).next().await {
                Some(ready) => return ready.expect("a pipe"),
                // It may end at any item, and is submitted again.
                None => self.stream = None,
            }
        }
    }
}

async fn put(writer: &SharedFd) {
    let (result, _) = handle().submit(op::WriteAt::new(writer.clone(), vec![7_u8; 3], u64::MAX)).await;
    assert!(result.expect("a pipe with a reader") > 0);
}

async fn take(reader: &SharedFd) {
    let read = op::ReadAt::new(reader.clone(), Vec::with_capacity(100), u64::MAX);
    assert!(handle().submit(read).await.0.expect("a pipe with bytes") > 0);
}

async fn a_poll_reports_every_change_until_it_is_dropped(kernel: Kernel) {
    let (reader, writer) = kernel.pipe();
    let (reader, writer) = (SharedFd::new(reader), SharedFd::new(writer));
    let mut polls = Polls::new(&reader);
    for round in 0..10 {
        put(&writer).await;
        assert!(polls.next().await & libc::POLLIN as u32 != 0, "round {round}");
        take(&reader).await;
    }
}

/// The trap: a report that nobody takes, and a poll that is armed while its future goes.
async fn a_poll_that_is_dropped_at_any_time_leaves_the_bytes_and_nothing_else(kernel: Kernel) {
    let (reader, writer) = kernel.pipe();
    let (reader, writer) = (SharedFd::new(reader), SharedFd::new(writer));
    for turns in 0..kernel.count(40, 8) {
        let mut polls = Polls::new(&reader);
        let mut first = Box::pin(polls.next());
        assert!(poll_immediate(&mut first).await.is_none(), "nothing was written");
        for _ in 0..turns / 2 {
            yield_now().await;
        }
        if turns % 2 == 0 {
            put(&writer).await;
        }
        drop(first);
        drop(polls);
        if turns % 2 == 1 {
            put(&writer).await;
        }
        let mut others = Polls::new(&reader);
        assert!(others.next().await & libc::POLLIN as u32 != 0, "the bytes are there");
        drain(&reader).await;
    }
}

/// Reads until there is nothing for a while.
async fn drain(reader: &SharedFd) {
    loop {
        let ready = op::Poll::new(reader.clone(), libc::POLLIN as u32);
        if timeout(Duration::from_millis(5), handle().submit(ready)).await.is_err() {
            return;
        }
        take(reader).await;
    }
}
