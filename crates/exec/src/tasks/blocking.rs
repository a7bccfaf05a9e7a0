//! Blocking calls, away from the core.

use crate::{
    services,
    sync::cross::oneshot,
    task::{JoinHandle, catch},
};

/// Runs `f` on a thread where it may block, and gives its result to a task here.
///
/// The thread comes from a pool whose size is [`Config::blocking_threads`](crate::Config); more calls wait
/// for their turn in order. A panic in `f` becomes a [`JoinError`](crate::JoinError).
///
/// # Cancellation
/// Dropping or aborting the handle does not stop `f`, once begun; its result is dropped, on the
/// pool's thread or here. When the executor is dropped, calls that have not begun never do.
///
/// # Panics
/// Outside of an executor.
///
/// # Examples
/// ```
/// # use coronet_exec::{Config, Executor, ThreadPark, tasks::spawn_blocking};
/// # Executor::new(Box::new(ThreadPark::new()), Config::default()).block_on(async {
/// let text = spawn_blocking(|| std::fs::read_to_string("/proc/self/comm")).await;
/// assert!(text.unwrap().is_ok());
/// # });
/// ```
#[track_caller]
pub fn spawn_blocking<F, T>(f: F) -> JoinHandle<T>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    services::expect("spawn_blocking", |services| {
        let (sender, receiver) = oneshot::channel();
        services.pool.submit(Box::new(move || {
            let result = catch(f);
            // Nobody waits any more: the result is dropped, and its destructor may panic.
            let _ = catch(move || drop(sender.send(result)));
        }));
        services.spawn(
            async move {
                match receiver.await {
                    Ok(Ok(output)) => output,
                    // Goes on here as what it is, without telling the panic hook twice.
                    Ok(Err(panic)) => std::panic::resume_unwind(panic),
                    // The pool is closing, and so is this executor: it drops this task.
                    Err(_) => std::future::pending().await,
                }
            },
            None,
        )
    })
}
