//! What `#[coronet::main]` expands to. Not for use by hand.

use std::future::Future;
use std::sync::mpsc;
use std::time::Duration;

use crate::Cores;

/// How many cores `main` asked for.
#[derive(Clone, Copy, Debug)]
pub enum CoreCount {
    /// One for each CPU that the process may use.
    All,
    /// So many.
    Exactly(usize),
}

/// Runs `main` on core 0; the others take what is spawned on them until it ends.
#[track_caller]
pub fn main_on_cores<M, F>(count: CoreCount, main: M) -> F::Output
where
    M: FnOnce() -> F + Copy + Send + 'static,
    F: Future + 'static,
    F::Output: Send + 'static,
{
    let cores = match count {
        CoreCount::All => Cores::all(),
        CoreCount::Exactly(count) => Cores::count(count),
    };
    let (ended, end) = mpsc::channel();
    let started = cores.start(move |core| {
        let ended = ended.clone();
        async move {
            if core.index() > 0 {
                core.shutdown_requested().await;
                return None;
            }
            let _tell = TellOnDrop(ended);
            Some(main().await)
        }
    });
    let running = started.unwrap_or_else(|error| panic!("no runtime can be had here: {error}"));
    // It fails only if no core is left that could tell; then there is nothing to wait for.
    let _ = end.recv();
    running.shutdown(Duration::ZERO);
    match running.join().swap_remove(0) {
        Ok(output) => output.expect("core 0 runs main"),
        Err(error) if error.is_panic() => std::panic::resume_unwind(error.into_panic()),
        Err(error) => panic!("main did not end: {error}"),
    }
}

/// Tells that `main` has ended, also if it panicked.
struct TellOnDrop(mpsc::Sender<()>);

impl Drop for TellOnDrop {
    fn drop(&mut self) {
        let _ = self.0.send(());
    }
}
