//! Faults that are planted on purpose, so that the conformance suite can be seen to find them.
//!
//! Only with the feature `mutants`, which no program turns on. The environment variable
//! `CORONET_MUTANT` names the one that is active. None of them touches memory that it must not:
//! "freed" is a mark here, and a kernel that touches what is marked is counted.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::sync::OnceLock;

use crate::request::Request;
use crate::token::Token;

/// The operation: the number of its driver, slot and generation.
type Key = (u32, u32, u32);
/// Start and length, in bytes.
type Span = (usize, usize);

thread_local! {
    static LENT: RefCell<BTreeMap<Key, Span>> = const { RefCell::new(BTreeMap::new()) };
    static FREED: RefCell<BTreeMap<Key, Span>> = const { RefCell::new(BTreeMap::new()) };
    static TOUCHES: Cell<u64> = const { Cell::new(0) };
}

/// True if this fault is active.
pub fn is(name: &str) -> bool {
    static ACTIVE: OnceLock<String> = OnceLock::new();
    ACTIVE.get_or_init(|| std::env::var("CORONET_MUTANT").unwrap_or_default()) == name
}

/// How often a kernel touched memory that was "freed", on this thread.
pub fn touches() -> u64 {
    TOUCHES.get()
}

/// A simulated kernel touches lent memory.
pub fn touch(address: usize, len: usize) {
    let is_freed = |(start, size): &Span| address < start + size && *start < address + len;
    if FREED.with_borrow(|freed| freed.values().any(is_freed)) {
        TOUCHES.set(TOUCHES.get() + 1);
    }
}

fn key(driver: u32, token: Token) -> Key {
    (driver, token.slot(), token.generation())
}

/// An operation is lent.
pub(crate) fn lend(driver: u32, token: Token, request: &Request<'_>) {
    let span = match request {
        Request::Recv { into, .. } | Request::Read { into, .. } => {
            (into.as_mut_ptr() as usize, into.len() as usize)
        }
        Request::Send { from, .. } | Request::SendZc { from, .. } | Request::Write { from, .. } => {
            (from.as_ptr() as usize, from.len() as usize)
        }
        _ => return,
    };
    LENT.with_borrow_mut(|lent| lent.insert(key(driver, token), span));
}

/// Its memory is "freed".
pub(crate) fn free(driver: u32, token: Token) {
    let span = LENT.with_borrow(|lent| lent.get(&key(driver, token)).copied());
    if let Some(span) = span {
        FREED.with_borrow_mut(|freed| freed.insert(key(driver, token), span));
    }
}

/// The kernel is done with it.
pub(crate) fn over(driver: u32, token: Token) {
    LENT.with_borrow_mut(|lent| lent.remove(&key(driver, token)));
    FREED.with_borrow_mut(|freed| freed.remove(&key(driver, token)));
}
