//! Process signals as futures.
//!
//! A small thread waits for the signals and counts them; futures compare counts. So several
//! waiters on several cores all hear of a signal, and none is lost from the first call on.
//! From then on the signal no longer ends the process, also while nobody waits: that is
//! what taking over a signal means.

use std::{
    fmt, io,
    pin::Pin,
    sync::{Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, Waker},
    thread,
};

use signal_hook::{
    consts::signal::{SIGHUP, SIGINT, SIGTERM, SIGUSR2},
    iterator::{Handle, Signals},
};

/// What the thread has seen, for all cores.
static STATE: Mutex<State> = Mutex::new(State { watch: None, seen: [Seen::NONE; KINDS.len()] });

struct State {
    /// The thread's handle, once it runs.
    watch: Option<Handle>,
    seen: [Seen; KINDS.len()],
}

struct Seen {
    is_watched: bool,
    count: u64,
    waiting: Vec<Waker>,
}

impl Seen {
    const NONE: Seen = Seen { is_watched: false, count: 0, waiting: Vec::new() };
}

/// Index and signal.
const KINDS: [i32; 4] = [SIGINT, SIGTERM, SIGHUP, SIGUSR2];

fn lock() -> MutexGuard<'static, State> {
    STATE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Waits for SIGINT: Ctrl-C in a terminal.
///
/// Each call hears of the signals that come after it. From the first call on, the signal
/// does not end the process any more.
///
/// # Cancellation
/// Safe. A signal that comes between two calls is heard by neither: keep the future, or
/// poll it by reference, if that matters.
///
/// # Errors
/// If the signal cannot be watched, or the thread cannot be started.
///
/// # Examples
/// ```no_run
/// # async fn demo() -> std::io::Result<()> {
/// coronet_exec::signal::ctrl_c().await?;
/// println!("bye");
/// # Ok(()) }
/// ```
pub fn ctrl_c() -> Signal {
    Signal::new(0)
}

/// Waits for SIGTERM: what service managers send first.
///
/// As [`ctrl_c`] in all else.
///
/// # Cancellation
/// As for [`ctrl_c`].
///
/// # Errors
/// As for [`ctrl_c`].
pub fn terminate() -> Signal {
    Signal::new(1)
}

/// Waits for SIGHUP: often "read your configuration again".
///
/// As [`ctrl_c`] in all else.
///
/// # Cancellation
/// As for [`ctrl_c`].
///
/// # Errors
/// As for [`ctrl_c`].
pub fn hangup() -> Signal {
    Signal::new(2)
}

/// Waits for SIGUSR2: free for programs; servers use it for "hand over to a successor".
///
/// As [`ctrl_c`] in all else.
///
/// # Cancellation
/// As for [`ctrl_c`].
///
/// # Errors
/// As for [`ctrl_c`].
pub fn user2() -> Signal {
    Signal::new(3)
}

/// The future of [`ctrl_c`], [`terminate`], [`hangup`] and [`user2`].
///
/// After it has resolved, it may be awaited again: it waits for the next signal, and hears of one
/// that came meanwhile.
#[must_use = "futures do nothing unless awaited"]
pub struct Signal {
    kind: usize,
    /// The count up to which this one has heard.
    heard: u64,
    failed: Option<io::Error>,
}

impl Signal {
    fn new(kind: usize) -> Signal {
        let mut state = lock();
        let failed = watch(&mut state, kind).err();
        Signal { kind, heard: state.seen[kind].count, failed }
    }
}

impl Future for Signal {
    type Output = io::Result<()>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if let Some(error) = self.failed.take() {
            return Poll::Ready(Err(error));
        }
        let waker = cx.waker().clone();
        let mut state = lock();
        let seen = &mut state.seen[self.kind];
        if seen.count != self.heard {
            self.heard = seen.count;
            return Poll::Ready(Ok(()));
        }
        // Nothing is removed when a waiter goes; so look for our own first, and the list
        // stays as long as there are waiting tasks.
        if !seen.waiting.iter().any(|own| own.will_wake(&waker)) {
            seen.waiting.push(waker);
        }
        Poll::Pending
    }
}

impl fmt::Debug for Signal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Signal").field("signal", &KINDS[self.kind]).finish_non_exhaustive()
    }
}

/// Makes sure that the thread watches a signal.
fn watch(state: &mut State, kind: usize) -> io::Result<()> {
    if state.seen[kind].is_watched {
        return Ok(());
    }
    match &state.watch {
        Some(watch) => watch.add_signal(KINDS[kind])?,
        None => {
            let signals = Signals::new([KINDS[kind]])?;
            let handle = signals.handle();
            thread::Builder::new().name("coronet-signal".to_owned()).spawn(move || listen(signals))?;
            state.watch = Some(handle);
        }
    }
    state.seen[kind].is_watched = true;
    Ok(())
}

/// The life of the signal thread, which ends with the process.
fn listen(mut signals: Signals) {
    for signal in signals.forever() {
        let Some(kind) = KINDS.iter().position(|&known| known == signal) else { continue };
        let waiting = {
            let mut state = lock();
            let seen = &mut state.seen[kind];
            seen.count += 1;
            std::mem::take(&mut seen.waiting)
        };
        for waker in waiting {
            waker.wake();
        }
    }
}
