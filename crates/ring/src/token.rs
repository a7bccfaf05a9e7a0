//! The name of one operation in flight: a slot, and which tenant of that slot.
//!
//! The kernel carries it as `user_data` and gives it back with every completion.
//! A slot is used again; a token is not, until 2^32 operations later. So a
//! completion that comes too late is recognised, never routed to a stranger.

use std::num::NonZeroU64;

/// Identifies one operation from its submission to its last completion.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(NonZeroU64);

// Every future and every stream of this crate has one.
const _: () = assert!(size_of::<Option<Token>>() == 8);

/// No slot has this index: tokens that carry it belong to a backend itself.
const INTERNAL: u32 = u32::MAX;

impl Token {
    /// A token for a backend's own entries, such as the wake-up poll.
    pub const fn internal(number: u32) -> Self {
        Self::join(INTERNAL, number)
    }

    pub(crate) const fn new(slot: u32, generation: u32) -> Self {
        assert!(slot != INTERNAL, "the last slot number is reserved");
        assert!(generation != 0, "generations start at one");
        Self::join(slot, generation)
    }

    const fn join(slot: u32, generation: u32) -> Self {
        match NonZeroU64::new(((generation as u64) << 32) | slot as u64) {
            Some(raw) => Self(raw),
            None => panic!("slot and generation are both zero"),
        }
    }

    pub(crate) const fn slot(self) -> u32 {
        self.0.get() as u32
    }

    pub(crate) const fn generation(self) -> u32 {
        (self.0.get() >> 32) as u32
    }

    /// True for a backend's own entries, which no operation waits for.
    pub const fn is_internal(self) -> bool {
        self.slot() == INTERNAL
    }

    /// The value as the kernel carries it.
    pub const fn to_raw(self) -> u64 {
        self.0.get()
    }

    /// The token that the kernel gave back; zero is nobody's.
    pub const fn from_raw(raw: u64) -> Option<Self> {
        match NonZeroU64::new(raw) {
            Some(raw) => Some(Self(raw)),
            None => None,
        }
    }
}

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Token({}#{})", self.slot(), self.generation())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_survives_the_trip_through_user_data() {
        let token = Token::new(7, u32::MAX);
        let back = Token::from_raw(token.to_raw()).expect("not zero");
        assert_eq!((back.slot(), back.generation()), (7, u32::MAX));
        assert!(!back.is_internal());
        assert!(Token::internal(3).is_internal());
    }
}
