//! Owned buffers: bytes to send, and room to fill.
//!
//! A buffer is *moved* into the call that uses it and comes back with the result,
//! as [`BufResult`]. [`IoBuf`] is a buffer whose bytes can be sent; [`IoBufMut`]
//! one that also has room for bytes to arrive in; [`IoVectoredBuf`] several buffers
//! that are sent as one message. [`Slice`] is a range of a buffer that owns it.
//!
//! # Appending and fixed buffers
//!
//! A read never writes over bytes of a buffer that can grow:
//!
//! | kind | buffers | bytes shown | room for a read | after a read of `n` |
//! |---|---|---|---|---|
//! | appending | `Vec<u8>`, `BytesMut` | `0..len` | `len..capacity` | `len` is `n` more |
//! | fixed | `[u8; N]`, `Box<[u8]>`, `Box<[u8; N]>` | all | all | the first `n` bytes are new |
//!
//! So a `Vec` without spare capacity has no room, and a read into it answers zero;
//! `reserve` or `clear` it first. A read never makes a buffer larger by itself.
//!
//! # Why there is no duty to keep the pointer stable
//!
//! An operation owns its buffer and is moved into a slot whose address does not
//! change until the kernel is done. Only *there* it asks the buffer for its bytes or
//! its room, and until the last completion nobody moves, borrows or drops the buffer.
//! That is what a plain borrow of the buffer for as long as the kernel works would
//! mean, and no safe implementation of these traits can tell the difference. Hence
//! `[u8; N]`, whose bytes move with it, is as good a buffer as a `Vec`, and the traits
//! are safe to implement. `'static` makes sure that the buffer itself borrows from
//! nothing that could end before the operation.
//!
//! # What this module leaves to others
//!
//! It does not know operations, descriptors or the ring. Who owns a lent buffer while
//! the kernel works is the ring's lifecycle.

mod bytes_of;
mod growable;
mod lease;

mod slice;
mod vectored;

mod traits;

mod room;

pub use room::Room;
pub use slice::{IoBufExt, Slice};
pub use traits::{BufResult, IoBuf, IoBufMut};
pub use vectored::{IoVectoredBuf, Unsent};

#[cfg(test)]
mod tests;
