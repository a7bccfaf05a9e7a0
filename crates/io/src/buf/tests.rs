//! What every buffer has in common, checked over all of them.

use std::rc::Rc;
use std::sync::Arc;

use super::{IoBuf, IoBufExt, IoBufMut, IoVectoredBuf, Room, Unsent};

fn vec_with(len: usize, capacity: usize) -> Vec<u8> {
    let mut buf = Vec::with_capacity(capacity);
    buf.extend((0..len).map(|n| n as u8));
    assert_eq!(buf.capacity(), capacity, "the tests count on exact capacities");
    buf
}

/// Fills `buf` piece by piece and checks the rule of its kind after every piece.
fn check_appending<B: IoBufMut>(mut buf: B, label: &str) {
    let mut expected = buf.as_bytes().to_vec();
    for piece in [&b"x"[..], b"", b"yz", b"0123456789"] {
        let room = buf.spare().len();
        let count = buf.put(piece);
        assert_eq!(count, piece.len().min(room), "{label}");
        expected.extend_from_slice(&piece[..count]);
        assert_eq!(buf.as_bytes(), expected, "{label}");
        assert_eq!(buf.spare().len(), room - count, "{label}");
    }
}

fn check_fixed<B: IoBufMut>(mut buf: B, label: &str) {
    let mut expected = buf.as_bytes().to_vec();
    for piece in [&b"x"[..], b"", b"yz", b"0123456789"] {
        let count = buf.put(piece);
        assert_eq!(count, piece.len().min(expected.len()), "{label}");
        expected[..count].copy_from_slice(&piece[..count]);
        assert_eq!(buf.as_bytes(), expected, "{label}");
        assert_eq!(buf.spare().len(), expected.len(), "{label}");
    }
}

#[test]
fn appending_buffers_keep_their_bytes_and_grow_behind_them() {
    for len in 0..6 {
        for capacity in len..12 {
            let label = format!("{len} of {capacity}");
            check_appending(vec_with(len, capacity), &label);
            #[cfg(feature = "bytes")]
            {
                let mut buf = bytes::BytesMut::with_capacity(capacity);
                buf.extend_from_slice(&vec_with(len, len));
                check_appending(buf, &label);
            }
            for end in 0..=capacity {
                for start in 0..=len.min(end) {
                    let label = format!("{len} of {capacity}, {start}..{end}");
                    check_appending(vec_with(len, capacity).slice(start..end), &label);
                }
            }
        }
    }
}

#[test]
fn fixed_buffers_are_filled_from_their_beginning() {
    check_fixed([], "no bytes");
    check_fixed([0; 5], "an array");
    check_fixed(Box::new([0; 5]), "a boxed array");
    check_fixed(vec![0; 5].into_boxed_slice(), "a boxed slice");
    for end in 0..=7 {
        for start in 0..=end {
            let label = format!("{start}..{end}");
            check_fixed([7; 7].slice(start..end), &label);
            check_fixed(vec![7; 7].into_boxed_slice().slice(start..end), &label);
        }
    }
}

#[test]
fn every_buffer_shows_its_bytes() {
    fn check<B: IoBuf>(buf: B) {
        assert_eq!(buf.as_bytes(), b"abc");
        assert_eq!(buf.slice(1..).as_bytes(), b"bc");
    }
    check(b"abc");
    check(*b"abc");
    check(&b"abc"[..]);
    check("abc");
    check(String::from("abc"));
    check(Box::<str>::from("abc"));
    check(b"abc".to_vec());
    check(b"abc".to_vec().into_boxed_slice());
    check(Box::new(*b"abc"));
    check(Rc::<[u8]>::from(*b"abc"));
    check(Rc::<str>::from("abc"));
    check(Arc::<[u8]>::from(*b"abc"));
    check(Arc::<str>::from("abc"));
    #[cfg(feature = "bytes")]
    {
        check(bytes::Bytes::from_static(b"abc"));
        check(bytes::BytesMut::from(&b"abc"[..]));
    }
}

#[test]
fn a_full_vec_has_no_room() {
    let mut buf = vec_with(4, 4);
    assert!(buf.spare().is_empty());
    assert_eq!(buf.put(b"more"), 0);
    assert_eq!(buf, [0, 1, 2, 3]);
}

#[test]
fn a_slice_of_a_full_vec_never_writes_over_bytes_that_are_there() {
    let mut slice = vec_with(4, 4).slice(1..3);
    assert_eq!(slice.put(b"more"), 0);
    assert_eq!(slice.into_inner(), [0, 1, 2, 3]);
}

#[test]
fn a_slice_never_fills_outside_its_range() {
    for start in 0..=3 {
        for end in start..=8 {
            let mut slice = vec_with(3, 8).slice(start..end);
            slice.put(&[9; 20]);
            let buf = slice.into_inner();
            assert_eq!(buf.len(), end.max(3));
            assert_eq!(buf[..3], [0, 1, 2]);
        }
    }
    for start in 0..=8 {
        for end in start..=8 {
            let mut slice = [0u8; 8].slice(start..end);
            slice.put(&[9; 20]);
            let buf = slice.into_inner();
            assert!((0..8).all(|at| (buf[at] == 9) == (start..end).contains(&at)));
        }
    }
}

#[test]
fn a_slice_of_a_slice_counts_from_the_outer_one_and_stays_within_it() {
    let mut slice = [0u8; 8].slice(2..7).slice(1..3);
    assert_eq!(slice.extent(), 2);
    assert_eq!(slice.put(b"abcd"), 2);
    assert_eq!(slice.into_inner().into_inner(), *b"\0\0\0ab\0\0\0");

    let mut slice = vec_with(2, 8).slice(1..7).slice(..4);
    assert_eq!(slice.as_bytes(), [1]);
    assert_eq!(slice.put(&[9; 8]), 3);
    assert_eq!(slice.into_inner().into_inner(), [0, 1, 9, 9, 9]);
}

#[test]
fn the_rest_of_the_room_moves_on_in_a_fixed_buffer_and_by_itself_in_a_vec() {
    use super::Slice;
    let mut rest = Slice::rest_of_room([0u8; 6], 2, 3);
    assert_eq!(rest.put(b"abcdef"), 3);
    assert_eq!(rest.into_inner(), *b"\0\0abc\0");
    let mut rest = Slice::rest_of_room(vec_with(2, 6), 2, 3);
    assert_eq!(rest.put(b"abcdef"), 3);
    assert_eq!(rest.into_inner(), *b"\0\x01abc");
    let mut rest = Slice::rest_of_room([0u8; 6], 7, usize::MAX);
    assert_eq!(rest.put(b"abcdef"), 0);
}

#[test]
fn every_form_of_range_is_understood() {
    let check = |slice: super::Slice<Vec<u8>>, start, end| {
        assert_eq!((slice.start(), slice.end()), (start, end));
        assert_eq!(slice.get_ref().len(), 4);
    };
    check(vec_with(4, 8).slice(..), 0, 8);
    check(vec_with(4, 8).slice(4..), 4, 8);
    check(vec_with(4, 8).slice(..=5), 0, 6);
    check(vec_with(4, 8).slice(1..1), 1, 1);
}

#[test]
#[should_panic = "the slice starts at 5, behind the 4 bytes of the buffer"]
fn a_slice_that_starts_behind_the_bytes_panics() {
    let _ = vec_with(4, 8).slice(5..);
}

#[test]
#[should_panic = "the slice ends at 9, behind the buffer's extent of 8"]
fn a_slice_that_ends_behind_the_capacity_panics() {
    let _ = vec_with(4, 8).slice(..9);
}

#[test]
#[should_panic = "the slice ends at 6, behind the buffer's extent of 5"]
fn a_slice_that_ends_behind_bytes_to_send_panics() {
    let _ = "hello".slice(..6);
}

#[test]
#[should_panic = "the slice starts at 3, behind its end at 2"]
#[expect(clippy::reversed_empty_ranges, reason = "it is what the test is about")]
fn a_reversed_slice_panics() {
    let _ = "hello".slice(3..2);
}

#[test]
fn room_takes_what_fits_and_keeps_what_is_there() {
    let mut bytes = *b"......";
    let mut room = Room::from(&mut bytes[..]).range(1..=4);
    assert_eq!((room.len(), room.is_empty()), (4, false));
    assert_eq!(room.as_ptr(), room.as_mut_ptr().cast_const());
    assert_eq!(room.copy_from(b"ab"), 2);
    assert_eq!(room.copy_from(b""), 0);
    assert_eq!(&bytes, b".ab...");
}

/// A buffer that claims another kind of room at every call, in safe code only.
struct Fickle {
    calls: usize,
    bytes: [u8; 4],
    advanced: usize,
}

impl IoBuf for Fickle {
    fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }
}

#[allow(unsafe_code, reason = "`advance` only counts")]
impl IoBufMut for Fickle {
    fn spare(&mut self) -> Room<'_> {
        self.calls += 1;
        let start = (self.calls / 2) % 4;
        Room::from(&mut self.bytes[start..])
    }

    // SAFETY: [room-keeps-init] the room is always initialised bytes; this only counts.
    unsafe fn advance(&mut self, count: usize) {
        self.advanced += count;
    }
}

/// The trap: `advance` decides again what kind of room it was, and vouches to the buffer
/// for bytes that nobody wrote.
#[test]
fn a_slice_advances_only_what_the_room_it_gave_out_allowed() {
    for calls in 0..8 {
        let fickle = Fickle { calls, bytes: [0; 4], advanced: 0 };
        let mut slice = fickle.slice(1..3);
        let count = slice.put(&[9; 9]);
        assert!(count <= 2);
        let inner = slice.into_inner();
        assert!(inner.advanced == 0 || inner.advanced == count);
    }
}

fn joined(bufs: &impl IoVectoredBuf) -> Vec<u8> {
    bufs.slices().flatten().copied().collect()
}

#[test]
fn a_vectored_buffer_shows_its_parts_in_order() {
    assert_eq!(joined(&vec!["ab", "", "c"]), b"abc");
    assert_eq!(joined(&["ab", "", "c"]), b"abc");
    assert_eq!(joined(&vec!["ab", "", "c"].into_boxed_slice()), b"abc");
    assert_eq!(joined(&("ab",)), b"ab");
    assert_eq!(joined(&("ab", b"c".to_vec())), b"abc");
    assert_eq!(joined(&("ab", [b'c'], String::from("d"))), b"abcd");
    assert_eq!(joined(&("ab", [b'c'], String::from("d"), "e")), b"abcde");
    assert_eq!(Vec::<&'static str>::new().total_len(), 0);
}

#[test]
fn what_is_unsent_is_the_sequence_without_its_first_bytes() {
    let parts = ["ab", "", "cde", "f"];
    for sent in 0..=9 {
        let rest = Unsent::new(parts, sent);
        assert_eq!(joined(&rest), &b"abcdef"[sent.min(6)..]);
        assert_eq!(rest.total_len(), 6 - sent.min(6));
        assert!(rest.slices().all(|bytes| !bytes.is_empty()));
    }
}

/// The trap: a second handle to bytes that the first one can change.
#[test]
fn only_buffers_that_nobody_can_change_are_shared() {
    assert!(vec![1_u8].share().is_none());
    assert!(String::from("a").share().is_none());
    assert!([1_u8; 4].share().is_none());
    assert!(vec![1_u8, 2].slice(1..).share().is_none());
    assert_eq!("static".share(), Some("static"));
    let bytes: Rc<[u8]> = Rc::from(&b"counted"[..]);
    let shared = bytes.share().expect("it is counted");
    assert!(Rc::ptr_eq(&bytes, &shared));
    assert_eq!(bytes.slice(2..5).share().expect("so is a part of it").as_bytes(), b"unt");
}
