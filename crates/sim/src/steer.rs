//! What a task of a simulation can do to its world: hosts, their network, their disks.

use std::future::Future;
use std::io;
use std::net::IpAddr;
use std::os::fd::OwnedFd;
use std::rc::Rc;
use std::time::Duration;

use coronet_ring::Driver;

use crate::world::World;

/// Starts a host. `main` is called when it starts, and again after each [`restart`].
///
/// Its name is found by the resolver, as in `TcpStream::connect("server:80")`. A panic of its main
/// ends the simulation.
///
/// # Panics
/// Outside of a simulation, and if a host has that name.
pub fn host<M, F>(name: &str, main: M)
where
    M: Fn() -> F + 'static,
    F: Future<Output = ()> + 'static,
{
    let world = World::current();
    let id = world.add(name);
    world.set_boot(id, Rc::new(move || Box::pin(main())));
}

/// The address of a host.
///
/// # Panics
/// Outside of a simulation, and if no host has that name; so do all functions here.
pub fn address(name: &str) -> IpAddr {
    let world = World::current();
    let host = world.by_name(name);
    let kernel = world.kernel.borrow();
    kernel.network.hosts[&host].address
}

/// Lets nothing pass between two hosts until [`heal`]. What they send meanwhile is held up, and lost
/// with the connection if it lasts.
pub fn partition(one: &str, other: &str) {
    partition_one_way(one, other);
    partition_one_way(other, one);
}

/// Lets nothing pass from one host to another; the other way stays open.
pub fn partition_one_way(from: &str, to: &str) {
    let world = World::current();
    let (from, to) = (world.by_name(from), world.by_name(to));
    world.kernel.borrow_mut().network.cut(from, to);
}

/// Opens both ways between two hosts.
pub fn heal(one: &str, other: &str) {
    let world = World::current();
    let (one, other) = (world.by_name(one), world.by_name(other));
    let network = &mut world.kernel.borrow_mut().network;
    network.mend(one, other);
    network.mend(other, one);
}

/// Resets every connection between two hosts.
pub fn reset_between(one: &str, other: &str) {
    let world = World::current();
    let (one, other) = (world.by_name(one), world.by_name(other));
    world.kernel.borrow_mut().reset_between(one, other);
}

/// Cuts the power of a host, as soon as the caller waits for something. Its tasks end where they stand,
/// its peers hear nothing of it, and its disk keeps what was synced.
pub fn crash(name: &str) {
    let world = World::current();
    world.order_crash(world.by_name(name));
}

/// Starts a host that crashed. One that is up goes on.
pub fn restart(name: &str) {
    let world = World::current();
    world.order_start(world.by_name(name));
}

/// Simulated time since the simulation began.
pub fn elapsed() -> Duration {
    World::current().elapsed()
}

/// A driver on a host of its own, for a task that turns it by hand beside the one it runs on. Its turns let time
/// pass for all hosts.
///
/// # Errors
/// If the process has no descriptor left.
///
/// # Panics
/// If the simulation has a host of that name.
pub fn driver(name: &str) -> io::Result<Driver> {
    World::current().driver(name)
}

/// A pipe on the host of the caller: the reading and the writing end.
///
/// # Errors
/// Those of `pipe(2)`.
pub fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let world = World::current();
    let host = world.host_of_caller();
    world.kernel.borrow_mut().pipe(host)
}

/// The disk of the host of the caller.
pub mod disk {
    use std::io;
    use std::os::fd::{AsFd, OwnedFd};

    use crate::world::World;

    /// Opens a file, and makes it if it is not there. Read and write it with operations of the ring.
    ///
    /// # Errors
    /// Those of `open(2)`.
    pub fn open(name: &str) -> io::Result<OwnedFd> {
        let world = World::current();
        let host = world.host_of_caller();
        world.kernel.borrow_mut().open_file(host, name)
    }

    /// Brings what was written to the disk, so that it survives a crash.
    ///
    /// # Errors
    /// Those of `fsync(2)`.
    pub fn sync(file: &impl AsFd) -> io::Result<()> {
        World::current().kernel.borrow_mut().sync_file(file.as_fd())
    }
}
