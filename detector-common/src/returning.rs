//! Who comes again: a flow whose first packet a signature dropped, and which tries again.
//!
//! A client repeats a SYN that went unanswered after a second (RFC 6298, 2.1); a spoofed flood
//! with random sources repeats none. So a signature may let through what knocked
//! before, and only that: not what repeats itself at once, as some floods do.
//!
//! Doors come in sets of one cache line, and the newcomer gets the oldest door of its set. Measured over
//! 2²⁰ doors, share of clients that are let in when they come again after 1 s, at 50 and at 500
//! thousand spoofed packets a second: one door, always given to the newcomer 94 and 61 %; one door, kept
//! for 3 s 87 and 45 %; the oldest of 8 doors 100 and 96 %; the oldest of 16 doors 100 and 99.5 %.

/// Doors of a set.
pub const DOORS: usize = 16;

/// Soonest that a flow is let through after it first knocked, in coarse time
/// ([`crate::set::coarse`]): 201 ms.
pub const SOONEST_COARSE: u32 = 12;

/// Latest: 10 s.
pub const LATEST_COARSE: u32 = 596;

const FINGERPRINT_BITS: u32 = 20;
const TIME_MASK: u32 = (1 << (32 - FINGERPRINT_BITS)) - 1;

/// A set of doors: each holds a fingerprint (bits 0–19) and the coarse time at which it
/// was left (bits 20–31, which come round after 69 s); 0: nobody has been there.
#[repr(C, align(64))]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Doors {
    /// The doors.
    pub doors: [u32; DOORS],
}

/// Set and fingerprint of a flow's hash, among `sets` (a power of two, at most 2¹⁶). Their bits
/// are disjoint.
#[inline(always)]
#[must_use]
pub fn place(hash: u64, sets: u32) -> (u32, u32) {
    (
        (hash >> 48) as u32 & (sets - 1),
        (hash >> 28) as u32 & ((1 << FINGERPRINT_BITS) - 1),
    )
}

/// How long ago a fingerprint was left at a door.
#[inline(always)]
fn age(door: u32, now: u32) -> u32 {
    now.wrapping_sub(door >> FINGERPRINT_BITS) & TIME_MASK
}

impl Doors {
    /// A flow knocks at coarse time `now`; whether it is let through: it knocked before, neither just now
    /// nor too long ago. The first knock is what counts: one that comes too soon changes nothing. One that is let through changes
    /// nothing either, so that what follows it closely passes too.
    ///
    /// `forget` returns its argument: see [`crate::maps::Maps::forget`].
    #[inline(always)]
    pub fn knock(&mut self, fingerprint: u32, now: u32, forget: impl Fn(u32) -> u32) -> bool {
        let mut oldest = 0;
        let mut oldest_age = 0;
        for n in 0..DOORS {
            let door = self.doors[n];
            let age = age(door, now);
            if door << (32 - FINGERPRINT_BITS) == fingerprint << (32 - FINGERPRINT_BITS)
                && door != 0
                && age <= LATEST_COARSE
            {
                return age >= SOONEST_COARSE;
            }
            // An empty door counts as older than any.
            let age = if door == 0 { TIME_MASK + 1 } else { age };
            if age >= oldest_age {
                oldest_age = forget(age);
                oldest = n as u32;
            }
        }
        let oldest = forget(oldest) as usize % DOORS;
        self.doors[oldest] = fingerprint | (now & TIME_MASK) << FINGERPRINT_BITS;
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn knocks(doors: &mut Doors, fingerprint: u32, now: u32) -> bool {
        doors.knock(fingerprint, now, |n| n)
    }

    #[test]
    fn neither_too_soon_nor_too_late() {
        // The coarse time comes round on the way.
        for start in [0, 1, 77, TIME_MASK - 300, TIME_MASK, u32::MAX - 5] {
            let at = |ticks: u32| start.wrapping_add(ticks);
            let mut doors = Doors::default();
            assert!(!knocks(&mut doors, 9, at(0)), "{start}");
            for soon in [0, 1, SOONEST_COARSE - 1] {
                assert!(!knocks(&mut doors, 9, at(soon)), "{start}: {soon}");
            }
            for later in [SOONEST_COARSE, SOONEST_COARSE + 1, 60, LATEST_COARSE] {
                assert!(knocks(&mut doors, 9, at(later)), "{start}: {later}");
                assert!(!knocks(&mut doors.clone(), 8, at(later)), "another");
            }
            // Too late is the first time again.
            let late = at(LATEST_COARSE + 1);
            assert!(!knocks(&mut doors, 9, late), "{start}");
            assert!(!knocks(&mut doors, 9, late.wrapping_add(5)), "{start}");
            assert!(knocks(&mut doors, 9, late.wrapping_add(60)), "{start}");
        }
    }

    #[test]
    fn the_oldest_door_is_given_away() {
        for start in [5, TIME_MASK - 7] {
            let mut doors = Doors::default();
            for n in 0..DOORS as u32 {
                assert!(!knocks(&mut doors, 100 + n, start + n));
            }
            let then = start + 30;
            assert!(!knocks(&mut doors, 99, then));
            for n in 1..DOORS as u32 {
                assert!(knocks(&mut doors, 100 + n, then), "{n} of {start}");
            }
            assert!(knocks(&mut doors, 99, then + SOONEST_COARSE));
            assert!(!knocks(&mut doors, 100, then + SOONEST_COARSE));
        }
    }

    proptest! {
        #[test]
        fn a_hash_has_a_place(hash: u64, bits in 0u32..=16) {
            let (set, fingerprint) = place(hash, 1 << bits);
            prop_assert!(set < 1 << bits);
            prop_assert!(fingerprint < 1 << FINGERPRINT_BITS);
            // The largest table and the fingerprint have no bit in common.
            for bit in 0..64 {
                let other = place(hash ^ 1 << bit, 1 << 16);
                let (here, there) = place(hash, 1 << 16);
                prop_assert!(other.0 == here || other.1 == there);
            }
        }
    }
}
