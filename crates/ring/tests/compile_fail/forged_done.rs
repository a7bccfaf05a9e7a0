//! Only the driver says what the kernel did.

use coronet_ring::{Completion, Done, Nop, Op};

fn main() {
    let done: Done<Nop> = Completion::new(64, 0).into();
    Nop.finish(done).unwrap();
}
