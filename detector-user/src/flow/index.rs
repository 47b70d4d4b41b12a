//! From a key's hash to its record's number: open addressing with linear probing, over one array of 64-bit words.
//!
//! A general hash table costs two cache lines a lookup, tags and entries; this one costs one, and where it lies is
//! known from the hash alone, so that a batch's lookups can be under way at once. The place is made of the hash's
//! *upper* bits: growing then goes through old and new array in order.

use super::memory::Memory;

/// Words of the first array.
const WORDS_MIN: usize = 1 << 12;

/// The array is doubled when more than this share of it is used.
const LOAD_MAX: (usize, usize) = (5, 8);

/// Numbers by 32-bit hash. Several numbers may have one hash: who asks tells them apart.
pub(super) struct Index {
    /// Hash in the upper half, number plus one in the lower; 0 where there is none.
    words: Option<Memory<u64>>,
    used: usize,
    /// What brings a hash down to a place.
    shift: u32,
}

impl Index {
    pub(super) fn new() -> Self {
        Self {
            words: None,
            used: 0,
            shift: 32,
        }
    }

    #[inline(always)]
    fn words(&self) -> &[u64] {
        self.words.as_ref().map_or(&[], Memory::all)
    }

    #[inline(always)]
    fn place(&self, hash: u32) -> usize {
        (u64::from(hash) >> self.shift) as usize
    }

    /// The first number that may be the hash's: a guess, for whoever wants its record under way.
    #[inline(always)]
    pub(super) fn guess(&self, hash: u32) -> Option<u32> {
        let words = self.words();
        let word = *words.get(self.place(hash))?;
        ((word >> 32) as u32 == hash && word != 0).then(|| number(word))
    }

    /// The word at the hash's place, whatever it holds: reading it brings it nearer.
    #[inline(always)]
    pub(super) fn touch(&self, hash: u32) -> u64 {
        self.words().get(self.place(hash)).copied().unwrap_or(0)
    }

    /// The number of this hash that `is_it` takes.
    #[inline(always)]
    pub(super) fn find(&self, hash: u32, mut is_it: impl FnMut(u32) -> bool) -> Option<u32> {
        let words = self.words();
        let mut place = self.place(hash);
        // There is always an empty word, but for an array of length 0.
        loop {
            let word = *words.get(place)?;
            if word == 0 {
                return None;
            }
            if (word >> 32) as u32 == hash && is_it(number(word)) {
                return Some(number(word));
            }
            place = (place + 1) & (words.len() - 1);
        }
    }

    /// Adds a number, which is below `u32::MAX`; false where there is no memory for it.
    pub(super) fn insert(&mut self, hash: u32, number: u32) -> bool {
        let length = self.words().len();
        if (self.used + 1) * LOAD_MAX.1 > length * LOAD_MAX.0 && !self.grow(length) {
            return false;
        }
        let place = self.place(hash);
        let Some(words) = &mut self.words else {
            return false;
        };
        put(
            words.all_mut(),
            place,
            u64::from(hash) << 32 | u64::from(number + 1),
        );
        self.used += 1;
        true
    }

    #[cold]
    fn grow(&mut self, length: usize) -> bool {
        let grown = (length * 2).max(WORDS_MIN);
        let Some(mut memory) = Memory::zeroed(grown) else {
            return false;
        };
        self.shift = 32 - grown.ilog2().min(32);
        for &word in self.words() {
            if word != 0 {
                put(memory.all_mut(), self.place((word >> 32) as u32), word);
            }
        }
        self.words = Some(memory);
        true
    }

    pub(super) fn clear(&mut self) {
        match &mut self.words {
            // An array of the first size stays, for the next of many small captures.
            Some(words) if words.all().len() == WORDS_MIN => {
                words.all_mut().fill(0);
                self.used = 0;
            }
            _ => *self = Self::new(),
        }
    }
}

#[inline(always)]
fn number(word: u64) -> u32 {
    (word as u32).wrapping_sub(1)
}

#[inline(always)]
fn put(words: &mut [u64], mut place: usize, word: u64) {
    while words[place] != 0 {
        place = (place + 1) & (words.len() - 1);
    }
    words[place] = word;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_in_is_found_and_nothing_else() {
        let mut index = Index::new();
        assert_eq!(index.find(7, |_| true), None);
        // Few hashes for many numbers, and places at the array's very end, which go round to its beginning.
        let hash = |n: u32| match n % 3 {
            0 => u32::MAX,
            1 => u32::MAX - n,
            _ => n.wrapping_mul(0x9e37_79b9),
        };
        for n in 0..3_000 {
            assert!(index.insert(hash(n), n));
        }
        for n in 0..3_000 {
            assert_eq!(index.find(hash(n), |found| found == n), Some(n));
            assert_eq!(index.find(hash(n), |found| found == n + 3_000), None);
            if let Some(guess) = index.guess(hash(n)) {
                assert_eq!(hash(guess), hash(n));
            }
        }
        index.clear();
        assert_eq!(index.find(hash(1), |_| true), None);
        assert!(index.insert(hash(1), 1));
        index.clear();
        assert_eq!(index.find(hash(1), |_| true), None);
    }
}
