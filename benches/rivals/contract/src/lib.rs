//! Nothing but a test: `tests/contract.rs`.
