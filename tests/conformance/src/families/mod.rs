//! The promises, by what threatens them: one file each.

mod basics;
mod cancel;
mod cores;
mod driver;
mod fairness;
mod files;
mod multishot;
mod ordering;
mod orphan;
mod overload;
mod partial;
mod shutdown;
mod zero_copy;

use crate::promise::Promise;

/// All families.
pub(crate) const ALL: [&[Promise]; 13] = [
    basics::ALL,
    partial::ALL,
    cancel::ALL,
    orphan::ALL,
    multishot::ALL,
    ordering::ALL,
    files::ALL,
    shutdown::ALL,
    overload::ALL,
    fairness::ALL,
    cores::ALL,
    driver::ALL,
    zero_copy::ALL,
];
