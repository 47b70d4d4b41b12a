//! The index of the verdicts on addresses: a set-associative table of tagged words, as the flow
//! table's is, because the kernel's own hash map costs a call, a hash and a chain where
//! this costs one cache line, and every source is looked up.
//!
//! A word is a tag of the address' keyed hash and the slot of the verdict, whose target says
//! whether the address is this one. The hash map of all addresses stays beside it:
//! it is asked where a set was full.

use crate::{
    abi::VERDICT_SLOTS_MAX,
    key::{Address, HashSeed, mixed, product},
};

/// Ways of a set.
pub const WAYS: usize = 8;

/// Bits of a word that hold the slot.
const SLOT_BITS: u32 = 24;
const _: () = assert!(VERDICT_SLOTS_MAX < 1 << SLOT_BITS);

/// What stands in the last way of a set that was full once: the slot that there never is.
const SPILT: u64 = (1 << SLOT_BITS) - 1;
const LAST: usize = WAYS - 1;

/// One set: a cache line; 0 is a free way.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AddressSet {
    /// One a way.
    pub words: [u64; WAYS],
}

/// Sets for so many verdicts: with every slot taken by an address there are two to a
/// set, and one set in four thousand is full.
#[must_use]
pub const fn sets_for(verdict_slots: u32) -> u32 {
    verdict_slots.div_ceil(2).next_power_of_two()
}

/// Set and tag of an address: the hash of [`crate::key::FlowKey::hash`] over four
/// characters, with the last of its keys.
#[inline(always)]
#[must_use]
pub fn place(address: &Address, seed: &HashSeed, mask: u32) -> (u32, u64) {
    let m = &seed.words;
    let [a, b] = address.words;
    let sum = m[0].wrapping_add(product(a, m[7], m[8]));
    let hash = mixed(sum.wrapping_add(product(b, m[9], m[10])));
    ((hash >> 44) as u32 & mask, hash >> SLOT_BITS << SLOT_BITS)
}

/// The slot in a word with this tag; 0 for none.
#[inline(always)]
#[must_use]
pub fn slot(word: u64, tag: u64) -> u32 {
    let rest = word ^ tag;
    if rest >> SLOT_BITS == 0 {
        rest as u32
    } else {
        0
    }
}

/// Whether the word in the last way says that the set was full.
#[inline(always)]
#[must_use]
pub fn is_spilt(last: u64) -> bool {
    last == SPILT
}

impl AddressSet {
    /// The way and its new word by which the set leads to `slot`, in place of `former` where that
    /// is not 0. A full set gives up its last way: what stood there is in the hash map
    /// too, where it is found from then on.
    #[must_use]
    pub fn put(&self, tag: u64, former: u32, slot: u32) -> (usize, u64) {
        let free = || self.words.iter().position(|&word| word == 0);
        match self.way_of(tag, former).or_else(free) {
            Some(way) => (way, tag | u64::from(slot)),
            None => (LAST, SPILT),
        }
    }

    /// The way that leads to a slot.
    #[must_use]
    pub fn way_of(&self, tag: u64, of: u32) -> Option<usize> {
        self.words
            .iter()
            .position(|&word| of != 0 && slot(word, tag) == of)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::abi::VERDICT_SLOTS_DEFAULT;
    use core::net::Ipv4Addr;
    use proptest::prelude::*;

    const TAG: u64 = 0xabcd << SLOT_BITS;

    proptest! {
        #[test]
        fn a_word_keeps_its_slot_and_hides_it_from_other_tags(
            a: [u64; 2], b: [u64; 2], words: [u64; 11], number in 1..VERDICT_SLOTS_MAX
        ) {
            let seed = HashSeed { words };
            let (_, tag) = place(&Address { words: a }, &seed, 0);
            let (_, other) = place(&Address { words: b }, &seed, 0);
            let (way, word) = AddressSet::default().put(tag, 0, number);
            prop_assert_eq!(way, 0);
            prop_assert_eq!(slot(word, tag), number);
            prop_assert_eq!(slot(word, other) == number, tag == other);
            prop_assert_eq!(slot(0, 0), 0);
        }
    }

    #[test]
    fn a_full_set_says_so_and_keeps_the_rest() {
        let mut set = AddressSet::default();
        for slot in 1..=8 {
            let (way, word) = set.put(TAG, 0, slot);
            set.words[way] = word;
        }
        // Renewed where it stands.
        let (way, word) = set.put(TAG, 3, 30);
        assert_eq!((way, slot(word, TAG)), (2, 30));
        assert!(!is_spilt(set.words[LAST]));
        let (way, word) = set.put(TAG, 0, 9);
        set.words[way] = word;
        assert!(is_spilt(set.words[LAST]));
        assert_eq!((1..=9).filter(|n| set.way_of(TAG, *n).is_some()).count(), 7);
        // A way that becomes free is used; the mark stays.
        set.words[set.way_of(TAG, 4).unwrap()] = 0;
        let (way, word) = set.put(TAG, 0, 10);
        set.words[way] = word;
        assert_eq!(set.way_of(TAG, 10), Some(3));
        assert!(is_spilt(set.words[LAST]));
        // Nor does the mark lead anywhere, to whichever tag.
        assert!(slot(SPILT, 0) >= VERDICT_SLOTS_MAX);
        assert_eq!(set.way_of(TAG, 0), None);
    }

    #[test]
    fn neighbouring_addresses_seldom_fill_a_set() {
        let mut seed = HashSeed::default();
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        for word in &mut seed.words {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1);
            *word = state ^ state >> 29;
        }
        let sets = sets_for(VERDICT_SLOTS_DEFAULT);
        let mut taken = vec![0; sets as usize];
        for n in 0..VERDICT_SLOTS_DEFAULT {
            let address = Address::from(Ipv4Addr::from(0x0a00_0000 + n));
            taken[place(&address, &seed, sets - 1).0 as usize] += 1;
        }
        let full = taken.iter().filter(|&&n| n > WAYS).count();
        assert!(full <= 16, "{full} of {sets}");
    }
}
