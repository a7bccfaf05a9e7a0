//! Runnable programs, one idea each: see the files beside this one, each a
//! `cargo run --release --example NAME`.
