//! A time limit for a future.

use std::{
    error::Error,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use pin_project_lite::pin_project;

use super::sleep::{Sleep, sleep, sleep_until};
use crate::clock::Instant;

/// Waits for `future`, at most for `duration` from now.
///
/// The future is polled first: one that is ready at the deadline wins. When the time is up the
/// future is dropped together with the `Timeout`, not before.
///
/// # Cancellation
/// Dropping it drops `future`; what that means, `future` says.
///
/// # Panics
/// When polled outside of an executor.
///
/// # Errors
/// [`Elapsed`] if the time is up first.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark, time::timeout};
/// # use std::time::Duration;
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// let forever = std::future::pending::<()>();
/// assert!(timeout(Duration::from_millis(1), forever).await.is_err());
/// # });
/// ```
pub fn timeout<F: IntoFuture>(duration: Duration, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep(duration) }
}

/// Waits for `future`, at most until `deadline`.
///
/// # Cancellation
/// Dropping it drops `future`; what that means, `future` says.
///
/// # Panics
/// When polled outside of an executor.
///
/// # Errors
/// [`Elapsed`] if the time is up first.
pub fn timeout_at<F: IntoFuture>(deadline: Instant, future: F) -> Timeout<F::IntoFuture> {
    Timeout { future: future.into_future(), sleep: sleep_until(deadline) }
}

pin_project! {
    /// The future of [`timeout`].
    #[derive(Debug)]
    #[must_use = "futures do nothing unless awaited"]
    pub struct Timeout<F> {
        #[pin]
        future: F,
        sleep: Sleep,
    }
}

impl<F> Timeout<F> {
    /// When the time is up.
    pub fn deadline(&self) -> Instant {
        self.sleep.deadline()
    }

    /// Changes when the time is up, also if it was up already.
    pub fn reset(self: Pin<&mut Self>, deadline: Instant) {
        self.project().sleep.reset(deadline);
    }

    /// The future.
    pub fn get_ref(&self) -> &F {
        &self.future
    }

    /// The future, which may be awaited without a limit.
    pub fn into_inner(self) -> F {
        self.future
    }
}

impl<F: Future> Future for Timeout<F> {
    type Output = Result<F::Output, Elapsed>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = self.project();
        if let Poll::Ready(output) = this.future.poll(cx) {
            return Poll::Ready(Ok(output));
        }
        Pin::new(this.sleep).poll(cx).map(|()| Err(Elapsed(())))
    }
}

/// The time was up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Elapsed(());

impl fmt::Display for Elapsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the time is up")
    }
}

impl Error for Elapsed {}

impl From<Elapsed> for io::Error {
    fn from(elapsed: Elapsed) -> io::Error {
        io::Error::new(io::ErrorKind::TimedOut, elapsed)
    }
}
