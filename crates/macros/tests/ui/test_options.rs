//! Options that `#[coronet::test]` refuses.

#[coronet_macros::test(sim)]
async fn simulated() {}

#[coronet_macros::test(sim, seeds = 100)]
async fn simulated_with_seeds() {}

#[coronet_macros::test(cores = 2)]
async fn unknown_option() {}

fn main() {}
