//! Functions that `#[coronet::main]` refuses.

#[coronet_macros::main]
fn not_async() {}

#[coronet_macros::main]
async fn with_arguments(count: usize, name: String) {}

#[coronet_macros::main]
async fn generic<T: Default>() -> T {
    T::default()
}

#[coronet_macros::main]
async fn with_where_clause()
where
    String: Clone,
{
}

#[coronet_macros::main]
struct NotAFunction;

#[coronet_macros::main]
fn main(everything: u8) {}
