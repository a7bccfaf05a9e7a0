//! Sockets with owned buffers, on `coronet-ring`.
//!
//! Every call that moves bytes takes its buffer by value and gives it back with
//! the result, so nothing the kernel may touch is ever borrowed from a future
//! that can be dropped.
//!
//! The modules below are declared top layer first; each uses only those declared
//! after it.

pub mod net;

pub mod io;

pub mod context;

pub mod op;

mod pipes;

mod receives;
pub use receives::Receives;

pub mod buf;
