//! Kernel-picked buffers: taking one from its completion, sharing it, giving it back.
//!
//! The receives that fill them are not in the time.

use std::future::poll_fn;
use std::hint::black_box;
use std::io::Write;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use coronet::ring::{self, Done, Group, GroupConfig, MultiOp, OpStream, Request, SharedFd};

use crate::table::{Row, Table};
use crate::{runtime, scaled};

pub(crate) fn measure(table: &mut Table) {
    taken(table);
    split(table);
}

/// Receives into a group, and hands the completions out as they are.
struct Arrivals {
    socket: SharedFd,
    group: Group,
}

impl MultiOp for Arrivals {
    type Item = Done<Self>;

    fn request(&mut self) -> Request<'_> {
        Request::RecvMulti { socket: self.socket.as_fd(), group: self.group.id(), bundle: false }
    }

    fn item(&self, done: Done<Self>) -> Self::Item {
        done
    }
}

/// A socket pair: one end to write to, what arrives at the other.
struct Pair {
    near: UnixStream,
    arrivals: OpStream<Arrivals>,
}

impl Pair {
    /// To be made inside of the runtime.
    fn new(group: &Group) -> Self {
        let (near, far) = UnixStream::pair().expect("a pair of sockets");
        let socket = SharedFd::from(OwnedFd::from(far));
        let arrivals = Arrivals { socket, group: group.clone() };
        let arrivals = ring::current().handle().submit_multi(arrivals);
        Self { near, arrivals }
    }

    async fn arrive(&mut self) -> Done<Arrivals> {
        let done = poll_fn(|cx| self.arrivals.poll_item(cx)).await.expect("the receive goes on");
        assert!(done.value().expect("it received") > 0);
        done
    }
}

/// A group that lives as long as the driver of `runtime`.
fn group(runtime: &coronet::Runtime, buffers: u16, buffer_bytes: u32) -> Group {
    let config = GroupConfig { buffers, buffers_max: buffers, buffer_bytes, incremental: false };
    runtime
        .block_on(async { ring::current().handle().open_group(config) })
        .expect("the kernel has buffer groups")
}

fn taken(table: &mut Table) {
    // Fewer than the group has, so that the receive never ends for want of a buffer.
    const MESSAGES: u64 = 128;
    const BYTES: usize = 64;
    let runtime = runtime();
    let group = group(&runtime, 256, BYTES as u32);
    table.measure(&Row::informative("lease take + drop"), |rounds| {
        let mut pair = runtime.block_on(async { Pair::new(&group) });
        let mut arrived = Vec::with_capacity(MESSAGES as usize);
        scaled(rounds, MESSAGES, || {
            runtime.block_on(async {
                pair.near.write_all(&[1; MESSAGES as usize * BYTES]).expect("the peer reads");
                while arrived.len() < MESSAGES as usize {
                    arrived.push(pair.arrive().await);
                }
            });
            let start = Instant::now();
            for done in arrived.drain(..) {
                for lease in group.receive(done) {
                    black_box(&lease);
                }
            }
            start.elapsed()
        })
    });
}

fn split(table: &mut Table) {
    const BYTES: usize = 32 * 1024;
    let runtime = runtime();
    let group = group(&runtime, 4, BYTES as u32);
    table.measure(&Row::informative("lease split_to + drop of the part"), |rounds| {
        runtime.block_on(async {
            let mut pair = Pair::new(&group);
            let mut left = rounds as usize;
            let mut total = Duration::ZERO;
            while left > 0 {
                pair.near.write_all(&[1; BYTES]).expect("the peer reads");
                let mut received = 0;
                while received < BYTES {
                    for mut lease in group.receive(pair.arrive().await) {
                        received += lease.len();
                        let parts = left.min(lease.len());
                        let start = Instant::now();
                        for _ in 0..parts {
                            drop(black_box(lease.split_to(1)));
                        }
                        total += start.elapsed();
                        left -= parts;
                    }
                }
            }
            total
        })
    });
}
