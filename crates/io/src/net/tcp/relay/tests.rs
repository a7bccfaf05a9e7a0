//! What the end of one direction means for the other, apart from any socket.

use std::future::ready;
use std::task::{Context, Poll, Waker};

use super::*;

fn reset(is_write: bool) -> Result<(), Broken> {
    Err(Broken { error: io::ErrorKind::ConnectionReset.into(), is_write })
}

/// Which side failed in the end, and whether the direction that was not over at once got to its end.
fn outcome(first: Result<(), Broken>, second: Result<(), Broken>) -> (Result<(), RelaySide>, bool) {
    let is_over = Cell::new(false);
    let mut polled = false;
    let later = std::future::poll_fn(|_| {
        if std::mem::replace(&mut polled, true) { Poll::Ready(()) } else { Poll::Pending }
    });
    let later = async {
        later.await;
        is_over.set(true);
        second
    };
    let mut both = pin!(both(ready(first), later));
    let mut cx = Context::from_waker(Waker::noop());
    let end = (0..2).find_map(|_| match both.as_mut().poll(&mut cx) {
        Poll::Ready(end) => Some(end.map_err(|(side, _)| side)),
        Poll::Pending => None,
    });
    (end.expect("it ends with its directions"), is_over.get())
}

#[test]
fn the_end_of_one_direction_leaves_the_other_alone() {
    assert_eq!(outcome(Ok(()), Ok(())), (Ok(()), true));
    assert_eq!(outcome(Ok(()), reset(false)), (Err(RelaySide::B), true));
    assert_eq!(outcome(Ok(()), reset(true)), (Err(RelaySide::A), true));
}

/// The trap: the answer of a server that takes no more of the question is lost.
#[test]
fn a_side_that_takes_no_more_is_still_listened_to() {
    assert_eq!(outcome(reset(true), Ok(())), (Err(RelaySide::B), true));
}

#[test]
fn a_side_that_cannot_be_read_ends_both_directions() {
    assert_eq!(outcome(reset(false), Ok(())), (Err(RelaySide::A), false));
}
