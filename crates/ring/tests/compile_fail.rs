//! What must not compile: a ring on another thread, and memory lent that is not owned.
//!
//! `TRYBUILD=overwrite cargo test -p coronet-ring --test compile_fail` renews the expected errors.

use coronet_ring::{DetachedOp, Driver, Group, Handle, Lease, Nop, OpFuture};

/// Does not compile if the type is `Send`: then two implementations fit.
macro_rules! assert_not_send {
    ($($type:ty),*) => {$(
        const _: fn() = || {
            trait FitsOnce<Marker> {
                fn fits() {}
            }
            struct IfSend;
            impl<T: ?Sized> FitsOnce<()> for T {}
            impl<T: ?Sized + Send> FitsOnce<IfSend> for T {}
            let _ = <$type as FitsOnce<_>>::fits;
        };
    )*};
}

assert_not_send!(Driver, Handle, OpFuture<Nop>, DetachedOp, Group, Lease);

#[test]
fn programs_that_would_be_unsound_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
