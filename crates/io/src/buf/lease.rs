//! A pooled buffer of the ring is a buffer to send: what was received goes out as it is.

use coronet_ring::Lease;

use super::IoBuf;

impl IoBuf for Lease {
    fn as_bytes(&self) -> &[u8] {
        self
    }
}
