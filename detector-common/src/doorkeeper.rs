//! Who knocked before: a newcomer that found its set full of young flows leaves a
//! fingerprint; if it comes again before another has overwritten it, it is let in.
//! One random packet of a spoofed flood never comes again (the doorkeeper of
//! Einziger, Friedman and Manes, "TinyLFU", ACM ToS 13(4), 2017, with fingerprints
//! in place of a Bloom filter, so that it needs no clearing).

/// Places in one entry of the map: an array rounds each entry up to eight bytes, so
/// that single places would take twice their memory, and twice the cache.
pub const PLACES: u32 = 16;

/// One entry of the map: a cache line of fingerprints.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Line {
    /// One a place.
    pub fingerprints: [u32; PLACES as usize],
}

/// Entries for so many places, a power of two.
#[must_use]
pub const fn lines(places: u32) -> u32 {
    places.div_ceil(PLACES)
}

/// Index of a hash's place, in a doorkeeper of `mask + 1` entries.
#[inline(always)]
#[must_use]
pub fn place(hash: u64, mask: u32) -> u32 {
    (hash >> 20) as u32 & mask
}

/// What is left there. The set index comes from higher bits than the place, so the
/// upper half tells flows of one place apart.
#[inline(always)]
#[must_use]
pub fn fingerprint(hash: u64) -> u32 {
    (hash >> 32) as u32 ^ hash as u32
}
