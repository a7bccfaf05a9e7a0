//! Bytes out of a queue, as slices: one by one they were half the price of a simulated run.

use std::collections::VecDeque;

/// A copy of the first `count` bytes.
pub(crate) fn first(queue: &VecDeque<u8>, count: usize) -> Vec<u8> {
    let (front, back) = queue.as_slices();
    let from_front = front.len().min(count);
    let mut bytes = Vec::with_capacity(count);
    bytes.extend_from_slice(&front[..from_front]);
    bytes.extend_from_slice(&back[..count - from_front]);
    bytes
}

/// The first `count` bytes, which the queue has no more.
pub(crate) fn take(queue: &mut VecDeque<u8>, count: usize) -> Vec<u8> {
    let bytes = first(queue, count);
    queue.drain(..count);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The trap: a queue whose bytes lie in two pieces.
    #[test]
    fn what_is_taken_is_what_was_put_also_where_the_queue_begins_again() {
        let mut queue: VecDeque<u8> = (0..60).collect();
        for start in 0..200_u8 {
            queue.push_back(start.wrapping_add(60));
            let (seen, taken) = (first(&queue, 30), take(&mut queue, 1));
            assert_eq!(taken, [start]);
            let wanted: Vec<u8> = (0..30).map(|at| start.wrapping_add(at)).collect();
            assert_eq!(seen, wanted);
        }
        assert_eq!(queue.len(), 60);
    }
}
