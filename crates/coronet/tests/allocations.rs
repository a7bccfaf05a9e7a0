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
}

fn count() {
    CALLS.set(CALLS.get() + 1);
}

// SAFETY: [alloc-forward] every call goes to `System` as it came; counting touches a thread-local that
// needs neither memory nor a destructor.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        // SAFETY: [alloc-forward] the caller keeps the contract of `System`, which is that of this trait.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count();
        // SAFETY: [alloc-forward] as above; `memory` came from `System`.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
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

/// Serves until the peer ends; counts echoes, and notes the allocations between two of them.
async fn serve(stream: TcpStream, echoes: Rc<Cell<usize>>, from: usize, marks: Rc<Cell<(u64, u64)>>) {
    loop {
        let bytes = stream.recv().await.unwrap();
        if bytes.is_empty() {
            break;
        }
        echoes.set(echoes.get() + 1);
        if echoes.get() == from {
            marks.set((CALLS.get(), 0));
        } else if echoes.get() == from + ECHOES {
            marks.set((marks.get().0, CALLS.get()));
        }
        stream.write_all(bytes).await.0.unwrap();
    }
}

async fn count_allocations(connections: usize) -> u64 {
    let (echoes, marks) = (Rc::new(Cell::new(0)), Rc::new(Cell::new((0, 0))));
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
    let (before, after) = marks.get();
    assert!(before > 0 && after > 0, "the allocator counts");
    after - before
}

#[test]
fn an_echo_allocates_nothing() {
    world(async {
        if support::receives_are_pooled() {
            assert_eq!(count_allocations(1).await, 0, "calls in {ECHOES} echoes");
        }
    });
}

#[test]
fn an_echo_allocates_nothing_among_eight_connections() {
    world(async {
        if support::receives_are_pooled() {
            assert_eq!(count_allocations(8).await, 0, "calls in {ECHOES} echoes");
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
            assert_eq!(count_allocations(1).await, 0, "calls in {ECHOES} echoes");
            assert_eq!(count_allocations(8).await, 0, "calls in {ECHOES} echoes of each of eight");
        }
    });
}
