//! Options that `#[coronet::main]` refuses.

#[coronet_macros::main(cores = 0)]
async fn no_core() {}

#[coronet_macros::main(cores = "two")]
async fn in_words() {}

#[coronet_macros::main(cores = "2")]
async fn in_quotes() {}

#[coronet_macros::main(cores = -1)]
async fn negative() {}

#[coronet_macros::main(cores = 99999999999999999999999)]
async fn too_many() {}

#[coronet_macros::main(cores)]
async fn without_a_value() {}

#[coronet_macros::main(cores = 2, cores = 3)]
async fn twice() {}

#[coronet_macros::main(flavor = "current_thread")]
async fn unknown_option() {}

#[coronet_macros::main(crate = coronet)]
async fn facade_without_quotes() {}

#[coronet_macros::main(crate = "not a path")]
async fn facade_is_no_path() {}

#[coronet_macros::main(cores = 0, threads = 4)]
async fn main() {}
