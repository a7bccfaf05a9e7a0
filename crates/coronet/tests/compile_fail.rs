//! What must not compile: what belongs to a core on another thread, and buffers that somebody else has.
//!
//! `TRYBUILD=overwrite cargo test -p coronet --test compile_fail` renews the expected errors.

#[test]
fn programs_that_would_be_unsound_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
