//! A span does not outlive the bytes that it was made from.

use coronet_ring::{Span, SpanMut};

fn main() {
    let span = {
        let bytes = vec![0; 8];
        Span::new(&bytes)
    };
    println!("{span:?}");
    let mut bytes = vec![0; 8];
    let room = SpanMut::over(&mut bytes);
    bytes.clear();
    println!("{room:?}");
}
