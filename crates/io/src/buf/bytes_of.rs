//! Buffers of a fixed size, and buffers that can only be read.
//!
//! The appending ones are in `growable.rs`.
#![allow(
    unsafe_code,
    reason = "implements `IoBufMut::advance`, which has nothing to do for initialised memory"
)]

use std::rc::Rc;
use std::sync::Arc;

use super::{IoBuf, IoBufMut, Room};

macro_rules! shows {
    ($([$($generics:tt)*] $buffer:ty => |$this:ident| $bytes:expr $(, $shared:ident)?;)*) => {$(
        impl<$($generics)*> IoBuf for $buffer {
            fn as_bytes(&self) -> &[u8] {
                let $this = self;
                $bytes
            }

            $(fn share(&self) -> Option<Self> {
                shows!(@$shared self)
            })?
        }
    )*};
    (@shared $buffer:ident) => { Some($buffer.clone()) };
}

shows! {
    [] &'static [u8] => |b| b, shared;
    [const N: usize] &'static [u8; N] => |b| *b, shared;
    [] &'static str => |b| str::as_bytes(b), shared;
    [] String => |b| String::as_bytes(b);
    [] Box<str> => |b| str::as_bytes(b);
    [] Rc<[u8]> => |b| b, shared;
    [] Rc<str> => |b| str::as_bytes(b), shared;
    [] Arc<[u8]> => |b| b, shared;
    [] Arc<str> => |b| str::as_bytes(b), shared;
    [const N: usize] [u8; N] => |b| b;
    [const N: usize] Box<[u8; N]> => |b| &b[..];
    [] Box<[u8]> => |b| b;
}

#[cfg(feature = "bytes")]
shows! {
    [] bytes::Bytes => |b| b, shared;
}

macro_rules! fills_in_place {
    ($([$($generics:tt)*] $buffer:ty;)*) => {$(
        impl<$($generics)*> IoBufMut for $buffer {
            fn spare(&mut self) -> Room<'_> {
                Room::from(&mut self[..])
            }

            // SAFETY: [room-keeps-init] the room is the buffer's own initialised bytes, so there is
            // nothing to record, whatever the caller says was filled.
            unsafe fn advance(&mut self, count: usize) {
                assert!(count <= self.len(), "advanced {count} bytes in {}", self.len());
            }
        }
    )*};
}

fills_in_place! {
    [const N: usize] [u8; N];
    [const N: usize] Box<[u8; N]>;
    [] Box<[u8]>;
}
