//! Many cores: one thread and one executor each, that talk through mailboxes.

mod affinity;
mod group;
mod handle;

pub use self::{
    group::{Core, CoreIndex, Cores, Running},
    handle::{CoreHandle, RemoteJoinHandle},
};
