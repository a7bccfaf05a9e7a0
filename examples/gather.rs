//! Two coroutines at once: what asyncio's `gather` does.
//!
//! Run it: `cargo run --release --example gather`
//! You should see `Hello`, `Hello` at once, and one second later `World`, `World`: two
//! seconds of waiting take one.

use std::time::{Duration, Instant};

use coronet::task::gather_settled;
use coronet::time::sleep;

async fn say_hello() {
    println!("Hello");
    sleep(Duration::from_secs(1)).await;
    println!("World");
}

#[coronet::main]
async fn main() {
    let start = Instant::now();
    gather_settled([say_hello(), say_hello()]).await;
    println!("took {:.1} s", start.elapsed().as_secs_f64());
}
