//! Several cores, each with its own ring: starting, talking, sharing a port, stopping. And how a
//! runtime says which backend it got, or why it got none.

mod support;

use std::collections::HashSet;
use std::io::{ErrorKind, Read};
use std::net::TcpStream as StdStream;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use coronet::net::{ListenOptions, TcpListener, TcpStream};
use coronet::task::spawn_blocking;
use coronet::{Backend, Core, Cores, Refusal, Runtime, metrics};
use support::{
    alone, assert_descriptors, child, hang, open_descriptors, panic_of, runtime_or_skip, text_of, world,
};

/// Whether rings can be had here at all; says so if not.
#[track_caller]
fn can_run() -> bool {
    runtime_or_skip(Runtime::builder()).is_some()
}

#[test]
fn every_core_has_a_ring_of_its_own_and_gives_it_back() {
    let _alone = alone();
    let before = open_descriptors();
    if !can_run() {
        return;
    }
    let running = Cores::count(2)
        .start(|core| async move {
            let index = Rc::new(core.index()); // `!Send`, on purpose
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let address = listener.local_addr().unwrap();
            let (client, server) = futures_util::join!(TcpStream::connect(address), listener.accept());
            client.unwrap().write_all("hi").await.0.unwrap();
            assert_eq!(&*server.unwrap().0.recv().await.unwrap(), b"hi");
            (*index, core.count(), std::thread::current().id(), metrics().submitted > 0)
        })
        .unwrap();
    let results: Vec<_> = running.join().into_iter().map(Result::unwrap).collect();
    assert_eq!(results.iter().map(|result| result.0).collect::<Vec<_>>(), [0, 1]);
    assert!(results.iter().all(|result| result.1 == 2 && result.3));
    assert_ne!(results[0].2, results[1].2);
    assert_descriptors(before);
}

#[test]
fn work_is_sent_between_cores_and_from_outside_and_its_result_comes_back() {
    let _alone = alone();
    let before = open_descriptors();
    if !can_run() {
        return;
    }
    let (done, is_done) = mpsc::channel();
    let running = Cores::count(2)
        .start(move |core| {
            let done = done.clone();
            async move {
                if core.index() == 0 {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let address = listener.local_addr().unwrap();
                    // A socket of the other core, used there, in a future that could not travel.
                    let client = core.handle(1).spawn(move || async move {
                        let stream = Rc::new(TcpStream::connect(address).await.unwrap());
                        stream.write_all("from core 1").await.0.unwrap();
                        std::thread::current().id()
                    });
                    let (stream, _) = listener.accept().await.unwrap();
                    assert_eq!(&*stream.recv().await.unwrap(), b"from core 1");
                    assert_ne!(client.await.unwrap(), std::thread::current().id());
                    done.send(()).unwrap();
                }
                core.shutdown_requested().await;
            }
        })
        .unwrap();
    let handle = running.handle(1);
    is_done.recv_timeout(hang()).unwrap();
    assert_eq!(handle.spawn(|| async { metrics().tasks }).wait().unwrap(), 1, "itself");
    let error = handle.spawn(|| async { panic!("over there") }).wait().map(|(): ()| ()).unwrap_err();
    assert_eq!(text_of(&*error.into_panic()), "over there");
    // The core that saw a panic works on.
    assert_eq!(handle.spawn(|| async { 6 * 7 }).wait().unwrap(), 42);
    running.shutdown(hang());
    assert!(running.join().iter().all(Result::is_ok));
    assert!(handle.spawn(|| async {}).wait().unwrap_err().is_cancelled(), "the core is gone");
    drop(handle);
    assert_descriptors(before);
}

#[test]
fn a_main_that_panics_is_carried_and_the_other_cores_go_on() {
    let _alone = alone();
    if !can_run() {
        return;
    }
    let running = Cores::count(2)
        .start(|core| async move {
            assert_ne!(core.index(), 1, "core 1 has had enough");
            core.index()
        })
        .unwrap();
    let mut results = running.join();
    let error = results.pop().unwrap().unwrap_err();
    assert!(text_of(&*error.into_panic()).contains("core 1 has had enough"));
    assert_eq!(results.pop().unwrap().unwrap(), 0);
}

#[test]
fn a_shutdown_lets_those_end_who_do_and_drops_the_others_at_its_deadline() {
    struct Tell(Arc<AtomicBool>);
    impl Drop for Tell {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let _alone = alone();
    let before = open_descriptors();
    if !can_run() {
        return;
    }
    let dropped = Arc::new(AtomicBool::new(false));
    let told = dropped.clone();
    let (ready, all_ready) = mpsc::channel();
    let running = Cores::count(2)
        .start(move |core| {
            let (ready, tell) = (ready.clone(), Tell(told.clone()));
            async move {
                ready.send(()).unwrap();
                if core.index() == 0 {
                    core.shutdown_requested().await;
                    assert!(core.is_shutdown_requested());
                } else {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    let _ = listener.accept().await;
                }
                drop(tell);
            }
        })
        .unwrap();
    all_ready.iter().take(2).for_each(drop);
    let start = Instant::now();
    running.shutdown(Duration::from_millis(200));
    let results = running.join();
    assert!(results[0].is_ok());
    assert!(results[1].as_ref().is_err_and(coronet::JoinError::is_cancelled));
    let took = start.elapsed();
    assert!((Duration::from_millis(200)..Duration::from_secs(3)).contains(&took), "{took:?}");
    assert!(dropped.load(Ordering::Relaxed));
    assert_descriptors(before);
}

#[test]
fn each_listener_of_a_group_gets_connections_on_its_own_core() {
    const CLIENTS: usize = 400;
    let _alone = alone();
    if !can_run() {
        return;
    }
    let sockets = ListenOptions::default().bind_group(([127, 0, 0, 1], 0).into(), 2).unwrap();
    let address = sockets[0].local_addr().unwrap();
    let sockets = Arc::new(sockets);
    let serve = async |core: Core, listener: TcpListener| {
        let mut served = 0;
        loop {
            let (accept, stop) =
                (std::pin::pin!(listener.accept()), std::pin::pin!(core.shutdown_requested()));
            match futures_util::future::select(accept, stop).await {
                futures_util::future::Either::Left((accepted, _)) => {
                    let (stream, _) = accepted.unwrap();
                    stream.write_all(vec![core.index() as u8]).await.0.unwrap();
                    served += 1;
                }
                futures_util::future::Either::Right(_) => break served,
            }
        }
    };
    let running = Cores::count(2)
        .start(move |core| {
            let socket = sockets[core.index()].try_clone().unwrap();
            async move { serve(core, TcpListener::from(socket)).await }
        })
        .unwrap();
    let mut cores = HashSet::new();
    for _ in 0..CLIENTS {
        let mut core = [9];
        StdStream::connect(address).unwrap().read_exact(&mut core).unwrap();
        cores.insert(core[0]);
    }
    assert_eq!(cores, HashSet::from([0, 1]));
    running.shutdown(hang());
    let served: Vec<usize> = running.join().into_iter().map(Result::unwrap).collect();
    assert_eq!(served.iter().sum::<usize>(), CLIENTS);
}

#[coronet::main(cores = 2)]
async fn main_of_two_cores() -> std::io::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let client = TcpStream::connect(listener.local_addr()?).await?;
    let (server, _) = listener.accept().await?;
    client.write_all("main").await.0?;
    let heard = server.recv().await?;
    Ok(format!("{} on {:?}", String::from_utf8_lossy(&heard), std::thread::current().name()))
}

#[coronet::main(cores = 2)]
async fn main_that_panics() {
    panic!("main has had enough");
}

#[test]
fn main_on_cores_runs_main_on_core_0_and_ends_with_it() {
    let _alone = alone();
    let before = open_descriptors();
    if !can_run() {
        return;
    }
    assert_eq!(main_of_two_cores().unwrap(), "main on Some(\"coronet-0\")");
    assert_eq!(panic_of(main_that_panics), "main has had enough");
    assert_descriptors(before);
}

#[test]
fn blocking_calls_run_beside_the_core_and_their_panics_are_carried() {
    world(async {
        let (go, wait) = mpsc::channel::<()>();
        let slow = spawn_blocking(move || wait.recv_timeout(hang()).map(|()| std::thread::current().id()));
        // The core is free while the call blocks.
        let (stream, mut peer) = support::pair();
        stream.write_all("free").await.0.unwrap();
        peer.read_exact(&mut [0; 4]).unwrap();
        go.send(()).unwrap();
        assert_ne!(slow.await.unwrap().unwrap(), std::thread::current().id());
        let error = spawn_blocking(|| panic!("blocked")).await.map(|(): ()| ()).unwrap_err();
        assert_eq!(text_of(&*error.into_panic()), "blocked");
    });
}

#[test]
fn the_report_names_backend_and_reason_in_one_line() {
    let _alone = alone();
    let Some(runtime) = runtime_or_skip(Runtime::builder()) else { return };
    let line = runtime.backend().to_string();
    let known = ["io_uring (", "epoll ("];
    assert!(known.iter().any(|name| line.starts_with(name)) && line.ends_with(')'), "{line}");
    assert!(!line.contains('\n') && line.len() < 300, "{line}");
    assert_eq!(runtime.metrics().tasks, 0, "a runtime that did nothing has no tasks");
}

#[test]
fn what_cannot_be_had_is_an_error_that_says_so() {
    let _alone = alone();
    for entries in [0, 7, 32_769, u32::MAX] {
        let error = Runtime::builder().entries(entries).build().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
        assert!(error.to_string().contains(&entries.to_string()), "{error}");
    }
    let error = Cores::count(2).builder(Runtime::builder().entries(0)).start(async |_| {}).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
}

/// In a process of its own, because the variable is the process's.
#[test]
fn the_variable_overrides_auto_only_and_has_to_name_a_backend() {
    const NAME: &str = "the_variable_overrides_auto_only_and_has_to_name_a_backend";
    const VARIABLE: &str = "CORONET_BACKEND";
    const ROLE: &str = "CORONET_TEST_ROLE";
    let role = std::env::var(ROLE).unwrap_or_default();
    if role.is_empty() {
        let _alone = alone();
        for (value, role) in [("nonsense", "InvalidInput"), ("epoll", "epoll"), ("uring", "io_uring")] {
            let output = child(NAME, (ROLE, role)).env(VARIABLE, value).output().unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{value}: {said}");
        }
        return;
    }
    let auto = Runtime::new();
    let by_name = Runtime::builder().backend(Backend::Epoll).build().expect("it runs everywhere");
    assert_eq!(by_name.backend().name, "epoll", "the variable overrides nothing else");
    drop(by_name);
    if role != "InvalidInput" {
        match auto {
            Ok(runtime) => assert_eq!(runtime.backend().name, role),
            Err(error) => assert!(Refusal::of(&error).is_some() && role == "io_uring", "{error}"),
        }
        return;
    }
    let error = auto.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    let started = Cores::count(1).start(async |_| {});
    assert_eq!(started.unwrap_err().kind(), error.kind());
    assert!(error.to_string().contains("CORONET_BACKEND") && error.to_string().contains("nonsense"));
    // Who asks for one by name gets it.
    drop(runtime_or_skip(Runtime::builder().backend(Backend::Uring)));
    assert!(panic_of(|| coronet::run(async {})).contains("no runtime can be had here"));
}
