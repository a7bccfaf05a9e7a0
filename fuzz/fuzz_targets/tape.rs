//! The tape of a simulated echo, from libFuzzer. `cargo xtask fuzz` runs it, and `crates/sim/tests/tapes.rs`
//! runs the same function with tapes of its own.

#![no_main]

#[path = "../../crates/sim/tests/tapes/scenario.rs"]
mod scenario;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| scenario::run(bytes));
