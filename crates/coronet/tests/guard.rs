//! The kernel never touches memory that was freed: every allocation of this program has pages of its
//! own, which are taken away when it is freed and never used again.
//!
//! A late access of the kernel is then an `EFAULT`, which [`coronet::ring::Stats::faulted`] counts
//! whoever waits for it, and a late access of our own is a crash. So is one beyond the end.

mod support;

#[path = "guard/pages.rs"]
mod pages;

#[path = "guard/worlds.rs"]
mod worlds;

#[path = "guard/operations.rs"]
mod operations;

#[path = "guard/sockets.rs"]
mod sockets;

#[path = "guard/ends.rs"]
mod ends;

#[global_allocator]
static ALLOCATOR: pages::Guard = pages::Guard;
