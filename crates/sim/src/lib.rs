//! A simulated kernel for Coronet: one seed is one run of servers, clients, network and disk.
//!
//! A program that is written with `coronet::net`, `coronet::spawn` and `coronet::time` runs here
//! unchanged. Its kernel is plain data: sockets, files, timers and rings in one thread, with a clock
//! that moves only when nobody can run. Every choice that Linux leaves open (how many bytes a
//! send takes, which completion comes first, whether a cancel wins, when a multishot ends) is
//! drawn from a [`Tape`], so the same seed is the same run, and a seed that fails can be run again.
//!
//! It promises:
//!
//! - **Never kinder than Linux.** What Linux may do, some seed does.
//! - **The same seed is the same run**, down to the hash of its trace.
//! - **Loans are taken seriously.** Lent memory is touched at the time of the effect, apart from the
//!   completion, so that a sanitizer finds memory that was freed too early.
//!
//! It does not know several cores, signals, UDP and Unix sockets, and calls that go past the
//! runtime: threads, the system's clock, the order of a `HashMap`, a random `select!`.
//!
//! Modules are declared top layer first, and use only what stands below them.
//!
//! # Examples
//! ```
//! use coronet_io::net::{TcpListener, TcpStream};
//!
//! let sim = coronet_sim::Sim::new(7);
//! let answer = sim.block_on(async {
//!     coronet_sim::host("server", || async {
//!         let listener = TcpListener::bind("0.0.0.0:80").await.unwrap();
//!         let (peer, _) = listener.accept().await.unwrap();
//!         peer.write_all("hello").await.0.unwrap();
//!     });
//!     let stream = TcpStream::connect("server:80").await.unwrap();
//!     let (result, bytes) = stream.read_exact([0; 5]).await;
//!     result.map(|()| bytes).unwrap()
//! });
//! assert_eq!(&answer, b"hello");
//! println!("{:?}", sim.report());
//! ```

mod check;
mod shrink;
mod sim;
mod steer;
mod world;
mod context;
mod machine;
mod backend;
mod kernel;
mod faults;
mod trace;
mod tape;

pub use check::{Verdict, test};
pub use faults::{Faults, Settings};
pub use shrink::shrink;
pub use sim::{Builder, Report, Sim, run};
pub use steer::{
    address, crash, disk, driver, elapsed, heal, host, partition, partition_one_way, pipe, reset_between,
    restart,
};
pub use tape::Tape;
