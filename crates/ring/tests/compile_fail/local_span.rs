//! A request points into its operation, not into a local variable.

use coronet_ring::{Done, Op, Request, SharedFd, Span};

struct Send(SharedFd);

impl Op for Send {
    type Output = u32;

    fn request(&mut self) -> Request<'_> {
        let bytes = [0; 8];
        Request::Send { socket: self.0.target(), from: Span::new(&bytes), flags: 0 }
    }

    fn finish(self, done: Done<Self>) -> u32 {
        done.value().unwrap()
    }
}

fn main() {}
