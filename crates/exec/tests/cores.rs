//! Groups of cores: start, talk, stop.

#![cfg(not(loom))]

use std::{
    io,
    rc::Rc,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use coronet_exec::{Cores, Park, ThreadPark};

fn thread_park(_: usize) -> io::Result<Box<dyn Park>> {
    Ok(Box::new(ThreadPark::new()))
}

const LONG: Duration = Duration::from_secs(600);

#[test]
fn every_core_runs_main_once_and_join_keeps_the_order() {
    let running = Cores::count(3)
        .start_with(thread_park, |core| async move {
            let local = Rc::new(core.index());
            (*local, core.count())
        })
        .unwrap();
    let results: Vec<_> = running.join().into_iter().map(Result::unwrap).collect();
    assert_eq!(results, [(0, 3), (1, 3), (2, 3)]);
}

#[test]
fn a_pinned_core_runs_on_one_cpu() {
    let running = Cores::count(2)
        .start_with(thread_park, |_| async { rustix::thread::sched_getaffinity(None).unwrap().count() })
        .unwrap();
    assert!(running.join().into_iter().all(|cpus| cpus.unwrap() == 1));
}

/// The trap: the cores that did start must not run main, and their threads must end.
#[test]
fn a_core_that_cannot_start_stops_them_all() {
    let mains = Arc::new(AtomicUsize::new(0));
    let error = Cores::count(3)
        .start_with(
            |index| match index {
                1 => Err(io::Error::from(io::ErrorKind::PermissionDenied)),
                _ => thread_park(index),
            },
            {
                let mains = mains.clone();
                move |_| {
                    mains.fetch_add(1, Ordering::Relaxed);
                    async {}
                }
            },
        )
        .unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::PermissionDenied);
    assert_eq!(mains.load(Ordering::Relaxed), 0);
    // Each thread held a clone of main; all are gone.
    assert_eq!(Arc::strong_count(&mains), 1);
}

#[test]
fn work_is_shipped_to_a_core_and_its_result_and_its_panic_come_back() {
    let running = Cores::count(2)
        .start_with(thread_park, |core| async move {
            if core.index() == 0 {
                let there = core.handle(1);
                let sum = there.spawn(|| async { *Rc::new(20) + 22 }).await.unwrap();
                assert_eq!(sum, 42);
                let quiet = || -> u8 { std::panic::resume_unwind(Box::new(())) };
                assert!(there.spawn(move || async move { quiet() }).await.unwrap_err().is_panic());
                let make = move || std::future::ready(quiet());
                assert!(there.spawn(make).await.unwrap_err().is_panic());
                return;
            }
            core.shutdown_requested().await;
        })
        .unwrap();
    let here = running.handle(1).spawn(|| async { std::thread::current().name().map(String::from) });
    assert_eq!(here.wait().unwrap().as_deref(), Some("coronet-1"));
    // Core 0 ends when it is done, and cancels this; only then may core 1 go.
    running.handle(0).spawn(std::future::pending::<()>).wait().unwrap_err();
    running.shutdown(LONG);
    assert!(running.join().into_iter().all(|result| result.is_ok()));
}

#[test]
fn a_main_that_ignores_the_request_is_dropped_after_the_grace() {
    let running = Cores::count(1).start_with(thread_park, |_| std::future::pending::<()>()).unwrap();
    let task = running.handle(0).spawn(std::future::pending::<()>);
    running.shutdown(Duration::ZERO);
    assert!(running.join()[0].as_ref().unwrap_err().is_cancelled());
    assert!(task.wait().unwrap_err().is_cancelled());
}

#[test]
fn a_panic_of_main_is_carried_and_later_work_is_cancelled() {
    let running = Cores::count(1)
        .start_with(thread_park, |_| async { std::panic::resume_unwind(Box::new("main")) })
        .unwrap();
    let handle = running.handle(0);
    let results: Vec<Result<(), _>> = running.join();
    assert!(results[0].as_ref().unwrap_err().is_panic());
    assert!(handle.spawn(|| async {}).wait().unwrap_err().is_cancelled());
}

#[test]
fn a_guard_outlives_the_executor_on_its_thread() {
    struct Guard(Arc<AtomicUsize>);
    impl Drop for Guard {
        fn drop(&mut self) {
            assert!(!coronet_exec::Executor::is_running_here());
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }
    let drops = Arc::new(AtomicUsize::new(0));
    let make = {
        let drops = drops.clone();
        move |index| Ok((thread_park(index)?, Guard(drops.clone())))
    };
    let running = Cores::count(2).start_guarded(make, |_| async {}).unwrap();
    running.join();
    assert_eq!(drops.load(Ordering::Relaxed), 2);
}
