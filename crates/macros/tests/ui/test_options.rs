//! Options that `#[coronet::test]` refuses.

#[coronet_macros::test(sim = 100)]
async fn simulated_with_a_value() {}

#[coronet_macros::test(seeds = 100)]
async fn seeds_without_a_simulation() {}

#[coronet_macros::test(sim, seeds = 0)]
async fn no_seeds() {}

#[coronet_macros::test(sim, seeds = "many")]
async fn seeds_that_are_no_number() {}

#[coronet_macros::test(cores = 2)]
async fn unknown_option() {}

fn main() {}
