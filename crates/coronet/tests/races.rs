//! Every wait is raced against a short timer, 10,000 times: whoever wins, no connection, no
//! byte, no write, no descriptor and no buffer is lost.

mod support;

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use coronet::net::{Shutdown, TcpListener, TcpStream};
use coronet::time::{sleep, timeout};
use socket2::SockRef;
use support::{Pattern, Sequence, beside, hang, pair, slowness, world};

fn races() -> usize {
    10_000 / slowness() as usize
}

/// Each side has to win that often, or the race proves nothing.
fn wins_min() -> usize {
    races() / 100 * 3
}

struct Score {
    in_time: usize,
    too_late: usize,
    /// The longest limit of a race now, in microseconds: the side that loses gets better odds, so that
    /// races are close on a fast machine and on a loaded one.
    limit_us: u64,
}

impl Default for Score {
    fn default() -> Self {
        Self { in_time: 0, too_late: 0, limit_us: 50 }
    }
}

impl Score {
    /// The limit of the next race: zero every eighth time.
    fn limit(&self, sequence: &mut Sequence) -> Duration {
        if sequence.below(8) == 0 {
            return Duration::ZERO;
        }
        Duration::from_micros(sequence.below(self.limit_us + 1))
    }

    fn note(&mut self, in_time: bool) {
        *if in_time { &mut self.in_time } else { &mut self.too_late } += 1;
        self.limit_us =
            if in_time { self.limit_us - self.limit_us / 16 } else { self.limit_us + 1 }.clamp(16, 2000);
    }

    fn races(&self) -> usize {
        self.in_time + self.too_late
    }

    #[track_caller]
    fn assert_both_won(&self) {
        let fewest = self.in_time.min(self.too_late);
        assert!(fewest >= wins_min(), "{} in time, {} too late", self.in_time, self.too_late);
    }
}

/// The trap: the kernel accepts after the future is gone, and nobody owns the client.
#[test]
fn every_client_is_served_though_most_accepts_are_dropped() {
    const CLIENTS: usize = 4;
    let connections = races() * 3 / 10 / CLIENTS;
    world(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let clients = (0..CLIENTS).map(|client| {
            coronet::task::spawn_blocking(move || {
                let mut sequence = Sequence::new(client as u64);
                for _ in 0..connections {
                    let mut stream = StdStream::connect(address).unwrap();
                    stream.set_read_timeout(Some(hang())).unwrap();
                    let mut served = Vec::new();
                    stream.read_to_end(&mut served).unwrap();
                    assert_eq!(served, b"served");
                    sequence.spin(400);
                }
            })
        });
        let clients: Vec<_> = clients.collect();
        let served = Rc::new(Cell::new(0));
        let (mut score, mut sequence) = (Score::default(), Sequence::new(1));
        while score.races() < races() || served.get() < CLIENTS * connections {
            let accepted = timeout(score.limit(&mut sequence), listener.accept()).await;
            score.note(accepted.is_ok());
            if let Ok(accepted) = accepted {
                let (stream, _) = accepted.unwrap();
                let served = served.clone();
                drop(coronet::spawn(async move {
                    stream.write_all("served").await.0.unwrap();
                    served.set(served.get() + 1);
                }));
            }
        }
        for client in clients {
            client.await.unwrap();
        }
        assert_eq!(served.get(), CLIENTS * connections);
        score.assert_both_won();
    });
}

/// How far a reader is, for the one who writes to it.
#[derive(Default)]
struct Reader {
    position: AtomicU64,
    has_enough: AtomicBool,
}

impl Reader {
    fn has_read(&self, position: u64) -> bool {
        self.position.load(Ordering::Relaxed) >= position || self.has_enough.load(Ordering::Relaxed)
    }
}

/// Writes the pattern in pieces of odd sizes until the reader has enough; how many bytes it was.
fn pump(mut peer: StdStream, piece_max: u64, reader: &Arc<Reader>) -> u64 {
    let (pattern, mut sequence) = (Pattern::new(), Sequence::new(2));
    let mut position = 0;
    while !reader.has_enough.load(Ordering::Relaxed) {
        let len = (sequence.below(piece_max) | 1) as usize;
        peer.write_all(pattern.at(position, len)).unwrap();
        position += len as u64;
        // Long pauses for single bytes, or they come faster than the races go.
        sequence.spin(if piece_max == 1 { 20 } else { 150 * u64::from(slowness()) });
        // Every other piece waits for the reader to wait, however slow it is; unless it is gone.
        let waits = piece_max > 1 && sequence.below(2) == 0;
        while waits && !reader.has_read(position) && Arc::strong_count(reader) > 1 {
            std::thread::yield_now();
        }
    }
    position
}

/// Races `read` until the peer has ended: each byte comes once and in its place.
async fn race_reads(
    piece_max: u64,
    mut read: impl AsyncFnMut(&TcpStream, Duration, usize) -> Option<Vec<u8>>,
) {
    let (stream, peer) = pair();
    peer.set_nodelay(true).unwrap();
    let progress = Arc::new(Reader::default());
    let seen = progress.clone();
    let writer = coronet::task::spawn_blocking(move || pump(peer, piece_max, &seen));
    let (pattern, mut sequence) = (Pattern::new(), Sequence::new(3));
    let (mut score, mut position) = (Score::default(), 0);
    loop {
        let room = 1 + sequence.below(300) as usize;
        let bytes = read(&stream, score.limit(&mut sequence), room).await;
        score.note(bytes.is_some());
        let Some(bytes) = bytes else { continue };
        if bytes.is_empty() {
            break;
        }
        pattern.check(position, &bytes);
        position += bytes.len() as u64;
        progress.position.store(position, Ordering::Relaxed);
        // Only here, so that a reader that gets nothing goes on until it does.
        if score.races() >= races() {
            progress.has_enough.store(true, Ordering::Relaxed);
        }
    }
    assert_eq!(position, writer.await.unwrap(), "bytes were lost");
    score.assert_both_won();
}

#[test]
fn no_byte_is_lost_when_recv_is_dropped() {
    world(race_reads(1021, async |stream, limit, _| {
        timeout(limit, stream.recv()).await.ok().map(|bytes| bytes.unwrap().to_vec())
    }));
}

#[test]
fn no_byte_is_lost_when_read_is_dropped() {
    world(race_reads(1021, async |stream, limit, room| {
        let (result, bytes) = timeout(limit, stream.read(Vec::with_capacity(room))).await.ok()?;
        assert_eq!(result.unwrap(), bytes.len());
        Some(bytes)
    }));
}

/// The trap: some of the 256 are there, and go with the future that collected them.
#[test]
fn no_byte_is_lost_when_read_exact_is_dropped_half_way() {
    world(race_reads(1, async |stream, limit, _| {
        let (result, bytes) = timeout(limit, stream.read_exact(Vec::with_capacity(256))).await.ok()?;
        assert_eq!(result.is_ok(), bytes.len() == 256);
        Some(bytes)
    }));
}

/// Number and length, before each message.
const HEADER: usize = 8;

fn message(number: u32, len: usize, pattern: &Pattern) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + len);
    bytes.extend_from_slice(&number.to_le_bytes());
    bytes.extend_from_slice(&(len as u32).to_le_bytes());
    bytes.extend_from_slice(pattern.at(u64::from(number), len));
    bytes
}

/// Reads messages slowly, checks that each is whole, and returns their numbers.
fn read_messages(mut peer: StdStream) -> Vec<u32> {
    let (pattern, mut sequence) = (Pattern::new(), Sequence::new(5));
    let (mut numbers, mut bytes) = (Vec::new(), Vec::new());
    let mut piece = vec![0; 24 * 1024];
    loop {
        let room = 1 + sequence.below(piece.len() as u64) as usize;
        let count = peer.read(&mut piece[..room]).unwrap();
        if count == 0 {
            break;
        }
        bytes.extend_from_slice(&piece[..count]);
        let mut start = 0;
        while let Some(header) = bytes[start..].first_chunk::<HEADER>() {
            let [n0, n1, n2, n3, l0, l1, l2, l3] = *header;
            let number = u32::from_le_bytes([n0, n1, n2, n3]);
            let len = u32::from_le_bytes([l0, l1, l2, l3]) as usize;
            let Some(body) = bytes[start + HEADER..].get(..len) else { break };
            assert!(body == pattern.at(u64::from(number), len), "message {number} is torn");
            numbers.push(number);
            start += HEADER + len;
        }
        bytes.drain(..start);
        // Much slower than who writes: on epoll a write waits for a full socket only.
        sequence.spin(800);
    }
    assert!(bytes.is_empty(), "the last message is cut short");
    numbers
}

/// The trap: the future of a write goes while the kernel has half of its bytes.
#[test]
fn writes_that_were_started_arrive_whole_and_in_order_though_their_futures_are_dropped() {
    world(async {
        let (stream, peer) = pair();
        // Small, so that writes have to wait for the peer.
        SockRef::from(&stream).set_send_buffer_size(64 * 1024).unwrap();
        let reader = coronet::task::spawn_blocking(move || read_messages(peer));
        let (pattern, mut sequence) = (Pattern::new(), Sequence::new(4));
        let mut score = Score::default();
        // Whether the message must arrive: if nothing was under way, the first poll sends it.
        let mut must_arrive = Vec::new();
        let mut is_idle = true;
        for number in 0..races() as u32 {
            let message = message(number, sequence.below(12 * 1024) as usize, &pattern);
            let len = message.len();
            let written = timeout(score.limit(&mut sequence), stream.write(message)).await;
            score.note(written.is_ok());
            must_arrive.push(is_idle || written.is_ok());
            is_idle = written.is_ok();
            if let Ok((result, _)) = written {
                assert_eq!(result.unwrap(), len);
            } else if sequence.below(2) == 0 {
                stream.flush().await.unwrap();
                is_idle = true;
            }
        }
        stream.flush().await.unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let arrived = reader.await.unwrap();
        assert!(arrived.is_sorted_by(|a, b| a < b), "messages changed places, or came twice");
        let mut numbers = arrived.iter().copied().peekable();
        for (number, must_arrive) in must_arrive.iter().enumerate() {
            let is_here = numbers.next_if_eq(&(number as u32)).is_some();
            assert!(is_here || !must_arrive, "message {number} did not arrive");
        }
        score.assert_both_won();
    });
}

#[test]
fn no_descriptor_is_lost_when_connect_is_dropped() {
    world(async {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let done = Arc::new(AtomicBool::new(false));
        let told = done.clone();
        let server = coronet::task::spawn_blocking(move || {
            while !told.load(Ordering::Relaxed) {
                drop(listener.accept().unwrap());
            }
        });
        let (mut score, mut sequence) = (Score::default(), Sequence::new(6));
        while score.races() < races() {
            let connected = timeout(score.limit(&mut sequence), TcpStream::connect(address)).await;
            score.note(connected.is_ok());
            connected.map(|connected| drop(connected.unwrap())).unwrap_or_default();
        }
        done.store(true, Ordering::Relaxed);
        // Only to let the server look; it may have ended with one that waited.
        let _ = StdStream::connect(address);
        server.await.unwrap();
        assert!(score.in_time >= wins_min(), "{} in time", score.in_time);
    });
}

#[test]
fn a_sleep_that_ends_first_wins_and_no_timer_stays_behind() {
    world(async {
        let (mut score, mut sequence) = (Score::default(), Sequence::new(8));
        for _ in 0..races() {
            let (pause, limit) = (sequence.limit(), sequence.limit());
            let start = Instant::now();
            let ended = timeout(limit, sleep(pause)).await;
            score.note(ended.is_ok());
            let at_least = if ended.is_ok() { pause } else { limit };
            assert!(start.elapsed() >= at_least, "{ended:?} after {:?} of {at_least:?}", start.elapsed());
            assert!(ended.is_ok() || limit < pause, "{pause:?} lost against {limit:?}");
        }
        assert_eq!(coronet::metrics().timers, 1, "the one of the test itself");
        score.assert_both_won();
    });
}

/// The timer of the ring is cancelled in the kernel each time.
#[test]
fn timers_of_the_ring_that_are_dropped_leave_nothing_in_flight() {
    world(async {
        let handle = coronet::ring::current().handle().clone();
        let (mut score, mut sequence) = (Score::default(), Sequence::new(9));
        for _ in 0..races() {
            let pause = handle.submit(coronet::ring::op::Timeout::new(sequence.limit() * 4));
            let ended = timeout(sequence.limit(), pause).await;
            score.note(ended.is_ok());
            assert!(ended.is_err() || ended.is_ok_and(|result| result.is_ok()));
            assert!(coronet::metrics().in_flight < 64, "{:?}", coronet::metrics());
        }
        score.assert_both_won();
    });
}

/// The trap of a `select` loop: the losing branch is made anew each time round.
#[test]
fn an_accept_and_a_recv_in_one_select_loop_lose_nothing() {
    world(async {
        const CLIENTS: usize = 500;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stream, mut peer) = pair();
        let pattern = Pattern::new();
        let writer = beside(move || {
            let (pattern, mut sequence) = (Pattern::new(), Sequence::new(10));
            let mut position = 0;
            for _ in 0..CLIENTS {
                let len = 1 + sequence.below(999) as usize;
                peer.write_all(pattern.at(position, len)).unwrap();
                position += len as u64;
                drop(StdStream::connect(address).unwrap());
            }
            position
        });
        let writer = coronet::spawn(writer);
        let (mut accepted, mut position) = (0, 0);
        let mut is_open = true;
        while accepted < CLIENTS || is_open {
            let accept = std::pin::pin!(listener.accept());
            let (stream, may_recv) = (&stream, is_open);
            let recv = std::pin::pin!(async move {
                if may_recv { stream.recv().await } else { std::future::pending().await }
            });
            match futures_util::future::select(accept, recv).await {
                futures_util::future::Either::Left((client, _)) => {
                    // The client is gone by now; it was accepted all the same.
                    drop(client.unwrap());
                    accepted += 1;
                }
                futures_util::future::Either::Right((bytes, _)) => {
                    let bytes = bytes.unwrap();
                    is_open = !bytes.is_empty();
                    pattern.check(position, &bytes);
                    position += bytes.len() as u64;
                }
            }
        }
        assert_eq!(position, writer.await.unwrap());
    });
}
