//! Functions that `#[coronet::test]` refuses.

#[coronet_macros::test]
fn not_async() {}

#[coronet_macros::test]
async fn with_arguments(listener: u32) {}

#[coronet_macros::test]
async fn generic<const N: usize>() {}

#[coronet_macros::test]
#[test]
async fn a_test_already() {}

fn main() {}
