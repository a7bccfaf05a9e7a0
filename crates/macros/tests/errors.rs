//! The text and the place of every error the attributes report.
//!
//! To accept a changed message, run with `TRYBUILD=overwrite` and read the diff.

#[test]
fn wrong_uses_are_refused_with_an_exact_message() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
