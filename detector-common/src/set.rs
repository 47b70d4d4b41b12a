//! One set of the flow table: eight ways' tags in one cache line, and the rules by
//! which a way is found, given up and taken.
//!
//! A way's word: coarse time last seen (bits 0–31), tag (32–55), class (56–63).

use crate::record::FLOW_TIMEOUT_US;

/// Ways of a set.
pub const WAYS: u32 = 8;

/// Nanoseconds to coarse time: units of 2²⁴ ns, 16.8 ms.
pub const COARSE_SHIFT: u32 = 24;

/// How long a flow on probation is safe from a newcomer that has not been seen
/// before, in coarse units: 1 s.
pub const PROBATION_COARSE: u32 = (1_000_000_000u64 >> COARSE_SHIFT) as u32;

/// Past this an established flow may be replaced, in coarse units.
pub const TIMEOUT_COARSE: u32 = ((FLOW_TIMEOUT_US * 1000) >> COARSE_SHIFT) as u32;

/// The eight words of a set.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Set {
    /// One a way.
    pub words: [u64; WAYS as usize],
}

/// What a way holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class(pub u8);

impl Class {
    /// Nothing, and never held anything.
    pub const EMPTY: Self = Self(0);
    /// A flow that the reader gave up: still counted where it is until another
    /// takes the way.
    pub const RELEASED: Self = Self(1);
    /// A flow that has not yet answered traffic nor sent enough.
    pub const PROBATION: Self = Self(0x80);
    /// An established flow.
    pub const PROTECTED: Self = Self(0x81);
}

const LIVE: u32 = 0x80 << 24;
const PROTECTED_BIT: u32 = 1 << 24;
const TAG_MASK: u32 = 0x00ff_ffff;

/// Set and tag of a flow's hash. Their bits are disjoint in the largest table.
#[inline(always)]
#[must_use]
pub fn place(hash: u64, set_mask: u32) -> (u32, u32) {
    (
        (hash >> 44) as u32 & set_mask,
        (hash >> 20) as u32 & TAG_MASK,
    )
}

/// Nanoseconds as coarse time.
#[inline(always)]
#[must_use]
pub fn coarse(now_ns: u64) -> u32 {
    (now_ns >> COARSE_SHIFT) as u32
}

/// A way's word.
#[inline(always)]
#[must_use]
pub fn word(class: Class, tag: u32, now: u32) -> u64 {
    (((class.0 as u32) << 24 | tag & TAG_MASK) as u64) << 32 | now as u64
}

/// Whether the word is that of a live flow with this tag.
#[inline(always)]
#[must_use]
pub fn matches(word: u64, tag: u32) -> bool {
    (word >> 32) as u32 & !PROTECTED_BIT == LIVE | tag
}

/// What the word's way holds.
#[inline(always)]
#[must_use]
pub fn class(word: u64) -> Class {
    Class((word >> 56) as u8)
}

/// Whether a live flow is there.
#[inline(always)]
#[must_use]
pub fn is_live(word: u64) -> bool {
    word >> 63 != 0
}

/// Coarse time last seen.
#[inline(always)]
#[must_use]
pub fn last_seen(word: u64) -> u32 {
    word as u32
}

/// The word with its flow seen now, and established where it is.
#[inline(always)]
#[must_use]
pub fn touched(word: u64, now: u32, established: bool) -> u64 {
    let promoted = if established {
        (PROTECTED_BIT as u64) << 32
    } else {
        0
    };
    word & !0xffff_ffff | now as u64 | promoted
}

/// The word with its flow given up.
#[inline(always)]
#[must_use]
pub fn released(word: u64) -> u64 {
    word & 0x00ff_ffff_ffff_ffff | (Class::RELEASED.0 as u64) << 56
}

/// How gladly a way is given to a newcomer; 0: not at all. The way with the
/// largest number goes first: an empty one, a released one, then the one longest
/// unseen among established flows past their time-out and flows on probation past
/// [`PROBATION_COARSE`] (`knocked`: however young).
#[inline(always)]
#[must_use]
pub fn eagerness(word: u64, now: u32, knocked: bool) -> u32 {
    let age = now.wrapping_sub(last_seen(word)) & 0x7fff_ffff;
    // A CPU whose clock is a little behind sees times in the future.
    let age = if age > 0x4000_0000 { 0 } else { age };
    match class(word) {
        Class::EMPTY => u32::MAX,
        Class::RELEASED => u32::MAX - 1,
        Class::PROBATION if knocked => age + 1,
        Class::PROBATION if age > PROBATION_COARSE => age,
        Class::PROTECTED if age > TIMEOUT_COARSE => age,
        _ => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn order_of_giving_up() {
        let now = 1_000_000;
        let at = |class, age: u32| eagerness(word(class, 7, now - age), now, false);
        let order = [
            eagerness(0, now, false),
            at(Class::RELEASED, 0),
            at(Class::PROTECTED, TIMEOUT_COARSE + 9),
            at(Class::PROBATION, TIMEOUT_COARSE + 8),
            at(Class::PROBATION, PROBATION_COARSE + 1),
            at(Class::PROBATION, PROBATION_COARSE),
        ];
        assert!(order.is_sorted_by(|a, b| a > b), "{order:?}");
        assert_eq!(at(Class::PROTECTED, TIMEOUT_COARSE), 0);
        assert_eq!(at(Class::PROBATION, PROBATION_COARSE), 0);
        assert!(eagerness(word(Class::PROBATION, 7, now), now, true) > 0);
        assert_eq!(eagerness(word(Class::PROTECTED, 7, now), now, true), 0);
        assert_eq!(eagerness(word(Class::PROTECTED, 7, now + 3), now, true), 0);
    }

    proptest! {
        #[test]
        fn a_word_keeps_what_it_is_given(tag in 0..=TAG_MASK, then: u32, now: u32, established: bool) {
            for class_given in [Class::PROBATION, Class::PROTECTED] {
                let w = word(class_given, tag, then);
                prop_assert!(matches(w, tag) && is_live(w));
                prop_assert!(!matches(w, tag ^ 1));
                prop_assert_eq!((class(w), last_seen(w)), (class_given, then));
                let t = touched(w, now, established);
                prop_assert!(matches(t, tag));
                prop_assert_eq!(last_seen(t), now);
                prop_assert_eq!(class(t) == Class::PROTECTED, established || class_given == Class::PROTECTED);
                let r = released(t);
                prop_assert!(!matches(r, tag) && !is_live(r));
                prop_assert_eq!(class(r), Class::RELEASED);
            }
        }
    }
}
