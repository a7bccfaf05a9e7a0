//! Who owns the memory now?
//!
//! An operation is lent from the moment the kernel accepted it until its last
//! completion, whoever waits. [`state`] answers what each event does, as one pure
//! function; [`table`] carries it out; [`cell`] is where the operation stands.
//!
//! Invariants, cited by every `SAFETY` comment here (see `docs/SAFETY.md`):
//!
//! - `[loan-pinned]` While a slot is `Queued`, `InFlight`, `Settling` or `Orphaned`
//!   its operation is neither moved, dropped nor mutably borrowed by safe code, and
//!   its cell does not move.
//! - `[token-unique]` At most one live slot answers to a token, and a token is never
//!   given to a second operation while the first is known to the kernel.
//! - `[cell-typed]` A cell holds exactly the operation that its slot's `Contract`
//!   was made for, from `lend` to the one `take` or `release`.

pub(crate) mod cell;
pub(crate) mod contract;
pub(crate) mod parting;
mod slots;
pub(crate) mod results;
pub(crate) mod state;
pub(crate) mod prefetch;
pub(crate) mod table;
