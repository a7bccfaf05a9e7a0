//! Functions on tasks: start them, yield, wait for many, leave blocking calls to threads.

mod blocking;
mod gather;
mod join_set;
mod spawn;

pub use self::{
    blocking::spawn_blocking,
    gather::{Gather, GatherSettled, gather, gather_settled},
    join_set::JoinSet,
    spawn::{Builder, Current, YieldNow, current, spawn, try_current, yield_now},
};
