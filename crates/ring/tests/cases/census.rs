//! What is left behind: descriptors, buffers and kernel threads, counted in `/proc` before
//! and after. One test at a time, because they count the whole process.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard};
use std::time::{Duration, Instant};

use crate::ring;
use crate::support::kernel::{descriptors, next, turn_until, wait, workers};
use crate::support::{ops, poll, ready};
use coronet_ring::{Driver, GroupConfig, SharedFd};
use rustix::fs::inotify;

static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn recv(socket: &SharedFd, witness: &Rc<()>) -> ops::Recv {
    ops::Recv { socket: socket.clone(), bytes: vec![0; 32], witness: witness.clone() }
}

/// The kernel frees a ring some time after it was closed; what it holds goes with it.
fn settles(what: &str, count: impl Fn() -> usize, expected: usize) {
    let start = Instant::now();
    while count() != expected {
        assert!(start.elapsed() < Duration::from_secs(10), "{what}: {}, not {expected}", count());
        std::thread::yield_now();
    }
}

#[test]
fn a_driver_dropped_with_a_thousand_recvs_in_flight_gives_everything_back() {
    let _alone = alone();
    let name = "a_driver_dropped_with_a_thousand_recvs_in_flight_gives_everything_back";
    let before = descriptors();
    let Some(driver) = ring(name, 64) else { return };
    let witness = Rc::new(());
    let pairs: Vec<_> = (0..100).map(|_| UnixStream::pair().expect("a pair")).collect();
    let (sockets, peers): (Vec<_>, Vec<_>) =
        pairs.into_iter().map(|(ours, theirs)| (SharedFd::new(OwnedFd::from(ours)), theirs)).unzip();
    let mut futures = Vec::new();
    for (number, socket) in sockets.iter().cycle().take(1000).enumerate() {
        let future = driver.handle().submit(recv(socket, &witness));
        // Half of them have nobody who waits.
        if number % 2 == 0 { futures.push(future) } else { std::mem::forget(future.detach()) }
    }
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    assert_eq!((driver.stats().in_flight, Rc::strong_count(&witness)), (1000, 1001));
    let start = Instant::now();
    let handle = driver.handle();
    drop(driver);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((handle.stats().in_flight, handle.stats().leaked), (0, 0));
    for mut future in futures {
        let (result, bytes) = ready(&mut future);
        assert_eq!(result.expect_err("cancelled").raw_os_error(), Some(libc::ECANCELED));
        assert_eq!(bytes.len(), 32, "the buffer comes back with the error");
    }
    // Forgotten futures are leaks of the program, and keep their sockets.
    assert_eq!(Rc::strong_count(&witness), 1 + 500);
    drop((handle, sockets, peers));
    assert!(descriptors() > before, "the forgotten ones are there");
}

#[test]
fn a_driver_dropped_with_orphans_in_flight_frees_them_and_their_descriptors() {
    let _alone = alone();
    let name = "a_driver_dropped_with_orphans_in_flight_frees_them_and_their_descriptors";
    let before = descriptors();
    let Some(driver) = ring(name, 64) else { return };
    let witness = Rc::new(());
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let address = listener.local_addr().expect("bound");
    let listener = SharedFd::new(OwnedFd::from(listener));
    let _clients: Vec<_> = (0..20).map(|_| TcpStream::connect(address).expect("connected")).collect();
    let accepts = driver.handle().submit_multi(ops::AcceptMulti(listener.clone()));
    let (ours, mut theirs) = UnixStream::pair().expect("a pair");
    let socket = SharedFd::new(OwnedFd::from(ours));
    for _ in 0..1000 {
        drop(driver.handle().submit(recv(&socket, &witness)));
    }
    let config = GroupConfig { buffers: 8, buffers_max: 8, buffer_bytes: 64, incremental: false };
    let group = driver.handle().open_group(config).expect("a group");
    theirs.write_all(&[1; 100]).expect("sent");
    let received = driver.handle().submit_multi(ops::RecvMulti { socket, group, bundle: false });
    let timeout = driver.handle().submit(ops::Timeout::after(Duration::from_secs(3600)));
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    drop((accepts, received, timeout));
    let start = Instant::now();
    drop(driver);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    assert_eq!((Rc::strong_count(&witness), listener.holders()), (1, 1));
    drop((listener, theirs, _clients));
    settles("descriptors", descriptors, before);
}

/// The trap: an operation that the kernel runs on a worker thread may not be cancelled for long.
#[test]
fn a_read_of_an_empty_pipe_does_not_keep_the_driver_from_ending() {
    let _alone = alone();
    let Some(mut driver) = ring("a_read_of_an_empty_pipe_does_not_keep_the_driver_from_ending", 8) else {
        return;
    };
    let (reader, writer) = rustix::pipe::pipe().expect("a pipe");
    let file = SharedFd::new(reader);
    let mut read = driver.handle().submit(ops::ReadAt { file, into: vec![0; 8], at: u64::MAX });
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(poll(&mut read).is_pending());
    let start = Instant::now();
    assert_eq!(driver.shut_down(Duration::from_secs(10)), 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    let errno = ready(&mut read).expect_err("cancelled").raw_os_error().expect("an errno");
    assert!([libc::ECANCELED, libc::EINTR].contains(&errno), "{errno}");
    drop(writer);
}

/// The trap: a file that can be polled and knows no non-blocking read (as pipes before Linux 6.4) is given
/// to a thread, which then waits for ever, if it starts before the cancel.
#[test]
fn no_thread_waits_for_a_file_that_can_be_polled() {
    let _alone = alone();
    let Some(mut driver) = ring("no_thread_waits_for_a_file_that_can_be_polled", 8) else { return };
    let directory = std::env::temp_dir().join(format!("coronet-census-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory");
    let news = inotify::init(inotify::CreateFlags::CLOEXEC).expect("an inotify descriptor");
    inotify::add_watch(&news, &directory, inotify::WatchFlags::CREATE).expect("a watch");
    let file = SharedFd::new(news);
    let read = |file: &SharedFd| {
        driver.handle().submit(ops::ReadAt { file: file.clone(), into: vec![0; 256], at: u64::MAX })
    };
    let mut first = read(&file);
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    assert!(poll(&mut first).is_pending());
    assert_eq!(file_threads(), 0, "nothing has happened yet");
    std::fs::create_dir(directory.join("new")).expect("something new");
    assert!(!wait(&driver, first).expect("read").is_empty());
    let mut second = read(&file);
    driver.turn(Some(Duration::ZERO)).expect("a turn");
    let start = Instant::now();
    assert_eq!(driver.shut_down(Duration::from_secs(10)), 0);
    assert!(start.elapsed() < Duration::from_secs(1), "{:?}", start.elapsed());
    ready(&mut second).expect_err("cancelled");
    // Last: that the watched directory goes is news, too.
    std::fs::remove_dir_all(&directory).expect("ours");
}

/// Threads of this process that wait for files on behalf of a poller.
fn file_threads() -> usize {
    let tasks = std::fs::read_dir("/proc/self/task").expect("procfs");
    let name = |task: std::fs::DirEntry| std::fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(|task| name(task.ok()?)).filter(|name| name.trim_end() == "coronet-file").count()
}

/// The trap: an operation that polls nothing goes to a worker thread, which costs a thread and a copy.
#[test]
fn sockets_start_no_worker_thread() {
    let _alone = alone();
    let Some(driver) = ring("sockets_start_no_worker_thread", 64) else { return };
    // Those of rings that are gone end in their own time.
    settles("worker threads before", workers, 0);
    let handle = driver.handle();
    let listener = TcpListener::bind("127.0.0.1:0").expect("a listener");
    let port = listener.local_addr().expect("bound").port();
    let listener = SharedFd::new(OwnedFd::from(listener));
    let mut accepts = handle.submit_multi(ops::AcceptMulti(listener.clone()));
    let new = || {
        let socket =
            rustix::net::socket(rustix::net::AddressFamily::INET, rustix::net::SocketType::STREAM, None);
        SharedFd::new(socket.expect("a socket"))
    };
    let witness = Rc::new(());
    for round in 0..20 {
        let client = new();
        let connect = ops::Connect::to_port(client.clone(), port);
        wait(&driver, handle.submit(connect)).expect("connected");
        let server = next(&driver, &mut accepts).expect("it goes on").expect("a connection");
        let server = SharedFd::new(server);
        let receive = handle.submit(recv(&server, &witness));
        driver.turn(Some(Duration::ZERO)).expect("a turn");
        let send = ops::Send { socket: client.clone(), from: vec![round; 32] };
        assert_eq!(wait(&driver, handle.submit(send)).expect("sent"), 32);
        let (count, bytes) = wait(&driver, receive);
        assert_eq!((count.expect("received"), bytes), (32, vec![round; 32]));
        // More than the socket buffers hold: the send waits, and the peer reads behind it.
        let bulk = ops::Send { socket: client, from: vec![round; 8 << 20] };
        let mut send = handle.submit(bulk);
        let mut left = 8_u32 << 20;
        while left > 0 {
            let large =
                ops::Recv { socket: server.clone(), bytes: vec![0; 1 << 20], witness: witness.clone() };
            left -= wait(&driver, handle.submit(large)).0.expect("received");
            if round > 0 {
                break;
            }
        }
        if round == 0 {
            turn_until(&driver, || poll(&mut send).is_ready());
        }
        let poll_end = handle.submit(ops::Poll(server));
        wait(&driver, poll_end).expect("ready");
    }
    assert_eq!(workers(), 0, "no operation went to a worker thread");
    drop(accepts);
    turn_until(&driver, || listener.holders() == 1);
}

#[test]
fn drivers_that_come_and_go_leave_no_descriptor() {
    let _alone = alone();
    let Some(first) = ring("drivers_that_come_and_go_leave_no_descriptor", 8) else { return };
    drop(first);
    let before = descriptors();
    for _ in 0..20 {
        let driver = Driver::new(coronet_ring::Config::default()).expect("a ring");
        driver.turn(Some(Duration::ZERO)).expect("a turn");
    }
    settles("descriptors", descriptors, before);
}
