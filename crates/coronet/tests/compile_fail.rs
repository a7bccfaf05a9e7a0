//! What must not compile: what belongs to a core on another thread, and buffers that somebody else has.
//!
//! `TRYBUILD=overwrite cargo test -p coronet --test compile_fail` renews the expected errors.

use coronet::net::{OwnedReadHalf, OwnedWriteHalf, TcpListener, TcpStream};
use coronet::ring::{OpFuture, SharedFd, op};
use coronet::{JoinHandle, Lease, Runtime};

/// Does not compile if the type is `Send`: then two implementations fit. The text of the error would
/// name every field, so it is not compared.
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

assert_not_send!(TcpStream, TcpListener, OwnedReadHalf, OwnedWriteHalf, SharedFd);
assert_not_send!(JoinHandle<()>, OpFuture<op::Timeout>, Lease, Runtime);

#[test]
fn programs_that_would_be_unsound_do_not_compile() {
    trybuild::TestCases::new().compile_fail("tests/compile_fail/*.rs");
}
