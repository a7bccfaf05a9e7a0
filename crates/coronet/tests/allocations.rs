//! An echo allocates nothing: once a connection has sent its first messages, the core that serves
//! it takes no memory and gives none back.

#![allow(unsafe_code, reason = "an allocator that counts is an allocator")]

mod support;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io::{Read, Write};
use std::net::TcpStream as StdStream;
use std::rc::Rc;

use coronet::net::TcpStream;
use coronet::{Backend, Runtime};
use support::{alone, beside, pair, world};

/// Counts what its thread asks of the system's allocator.
struct Counting;

thread_local! {
    static CALLS: Cell<u64> = const { Cell::new(0) };
    /// What the last one was, to tell where it came from.
    static LAST: Cell<(&str, usize)> = const { Cell::new(("none", 0)) };
}

fn count(call: &'static str, bytes: usize) {
    CALLS.set(CALLS.get() + 1);
    LAST.set((call, bytes));
}

// SAFETY: [alloc-forward] every call goes to `System` as it came; counting touches a thread-local that
// needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count("alloc", layout.size());
        // SAFETY: [alloc-forward] the caller keeps the contract of `System`, which is that of this trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count("dealloc", layout.size());
        // SAFETY: [alloc-forward] as above; `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count("realloc", size);
        // SAFETY: [alloc-forward] as above; `memory` came from `System`.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const ECHOES: usize = 1_000;

fn ask(mut peer: StdStream) {
    for _ in 0..2 * ECHOES {
        let mut answer = [0; 64];
        peer.write_all(&[42; 64]).unwrap();
        peer.read_exact(&mut answer).unwrap();
        assert_eq!(answer, [42; 64]);
    }
}

/// Calls before and after some echoes, and the last of them.
#[derive(Clone, Copy, Default)]
struct Marks {
    before: u64,
    after: u64,
    last: (&'static str, usize),
}

/// Serves until the peer ends; counts echoes, and notes the allocations between two of them.
async fn serve(stream: TcpStream, echoes: Rc<Cell<usize>>, from: usize, marks: Rc<Cell<Marks>>) {
    loop {
        let bytes = stream.recv().await.unwrap();
        if bytes.is_empty() {
            break;
        }
        echoes.set(echoes.get() + 1);
        if echoes.get() == from {
            marks.set(Marks { before: CALLS.get(), ..Marks::default() });
        } else if echoes.get() == from + ECHOES {
            marks.set(Marks { after: CALLS.get(), last: LAST.get(), ..marks.get() });
        }
        stream.write_all(bytes).await.0.unwrap();
    }
}

/// How often the allocator was called, and the last call; `None` if it was not.
async fn count_allocations(connections: usize) -> Option<(u64, &'static str, usize)> {
    let (echoes, marks) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(Marks::default())));
    let mut tasks = Vec::new();
    let mut peers = Vec::new();
    for _ in 0..connections {
        let (stream, peer) = pair();
        stream.set_nodelay(true).unwrap();
        peer.set_nodelay(true).unwrap();
        peers.push(peer);
        // Half of all echoes are the warm-up, of every connection.
        tasks.push(coronet::spawn(serve(stream, echoes.clone(), connections * ECHOES, marks.clone())));
    }
    beside(move || {
        let clients: Vec<_> = peers.into_iter().map(|peer| std::thread::spawn(|| ask(peer))).collect();
        clients.into_iter().for_each(|client| client.join().unwrap());
    })
    .await;
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(echoes.get(), 2 * connections * ECHOES);
    let Marks { before, after, last: (call, bytes) } = marks.get();
    assert!(before > 0 && after > 0, "the allocator counts");
    (after > before).then_some((after - before, call, bytes))
}

#[test]
fn an_echo_allocates_nothing() {
    world(async {
        if support::receives_are_pooled() {
            assert_eq!(count_allocations(1).await, None, "calls in {ECHOES} echoes");
        }
    });
}

#[test]
fn an_echo_allocates_nothing_among_eight_connections() {
    world(async {
        if support::receives_are_pooled() {
            assert_eq!(count_allocations(8).await, None, "calls in {ECHOES} echoes");
        }
    });
}

/// On the backend that runs where io_uring is refused, whatever the environment asks for.
#[test]
fn an_echo_allocates_nothing_on_epoll_either() {
    let _alone = alone();
    let runtime = Runtime::builder().backend(Backend::Epoll).build().expect("epoll runs everywhere");
    runtime.block_on(async {
        if support::receives_are_pooled() {
            assert_eq!(count_allocations(1).await, None, "calls in {ECHOES} echoes");
            assert_eq!(count_allocations(8).await, None, "calls in {ECHOES} echoes of each of eight");
        }
    });
}
