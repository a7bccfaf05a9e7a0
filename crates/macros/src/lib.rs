//! `#[coronet::main]` and `#[coronet::test]`: an `async fn` that starts its own
//! runtime.
//!
//! Use them through the facade, `coronet::main` and `coronet::test`; the runnable
//! examples are there. The generated code names only what the facade exports, so
//! this crate depends on no other crate of the workspace.
//!
//! Both keep the annotated function whole, as an inner `async fn`, and put a plain
//! function of the same name around it. So the body is checked exactly as if the
//! attribute were absent: its return type drives inference, and `return` and `?`
//! mean what they mean in any `async fn`.
//!
//! The modules below are declared top layer first; each uses only those declared
//! after it.

mod expand;
mod options;
mod signature;

use proc_macro::TokenStream;

/// Runs an `async fn main` on a Coronet runtime.
///
/// Without options the function runs on one core, the calling thread, by way of
/// `coronet::run`. The function's return value is the program's, so
/// `std::io::Result<()>` and `std::process::ExitCode` work as they do for a plain
/// `main`.
///
/// # Options
///
/// - `cores = "all"` starts one executor on every core the process may use;
///   `cores = N` starts `N`, at least one. `main` runs on core 0. The other cores
///   wait for work that `main` spawns on them, and stop when `main` returns.
/// - `crate = "path"` names the facade, for a program that depends on it under
///   another name or uses it through a re-export. The default is `::coronet`.
///
/// # Panics
///
/// The expanded function panics, with a message that says why, if no backend can be had.
#[proc_macro_attribute]
pub fn main(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::main(options.into(), item.into()).into()
}

/// Runs an `async fn` as a test, on a Coronet runtime of its own.
///
/// Adds `#[test]`; other attributes such as `#[should_panic]` stay in effect. A
/// function that returns a `Result` fails the test with its error.
///
/// # Options
///
/// - `crate = "path"` names the facade, as for [`macro@main`].
/// - `sim` runs the test in the simulated kernel instead, under 100 seeds; `seeds = N`
///   says how many. A failure prints its seed, and `CORONET_SEED=…` runs that one
///   again. The facade needs its feature `sim`.
#[proc_macro_attribute]
pub fn test(options: TokenStream, item: TokenStream) -> TokenStream {
    expand::test(options.into(), item.into()).into()
}
