//! Every promise on the real kernel, by io_uring and by epoll: one test for each.

use coronet_conformance::{Kernel, real, suite};
use libtest_mimic::{Arguments, Trial};

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = Vec::new();
    for kernel in [Kernel::Uring, Kernel::Epoll] {
        for promise in suite::all() {
            let name = format!("{}::{}", kernel.name(), promise.path());
            trials.push(Trial::test(name, move || {
                real::run(&promise, kernel);
                Ok(())
            }));
        }
    }
    libtest_mimic::run(&arguments, trials).exit();
}
