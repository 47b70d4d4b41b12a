//! The token bucket of a rate limit, as a generic cell rate algorithm (ITU-T
//! I.371, virtual scheduling): its whole state is one time, the *theoretical
//! arrival time*, which one compare-and-exchange can move. A bucket of packets and
//! one of bytes are two such times.
//!
//! Times are in units of 2⁻¹² ns and wrap after 52 days; a bucket unused for longer
//! starts anew.

/// Fraction bits of a unit.
pub const FRACTION_BITS: u32 = 12;

/// What one packet, or one byte, costs at a rate a second; 0 for no limit.
#[must_use]
pub fn cost(per_second: u64) -> u64 {
    if per_second == 0 {
        return 0;
    }
    ((1_000_000_000u64 << FRACTION_BITS) / per_second).max(1)
}

/// The most that a packet can cost, 10 s: what is further ahead than this and the
/// burst can only be a state from before a wrap.
pub const COST_MAX: u64 = units(10_000_000_000);

/// Nanoseconds in units.
#[inline(always)]
#[must_use]
pub const fn units(now_ns: u64) -> u64 {
    now_ns << FRACTION_BITS
}

/// The bucket's next state if it lets `cost` through at `now`; `None` where it
/// does not conform. `burst` is how far the state may run ahead of now.
#[inline(always)]
#[must_use]
pub fn conform(state: u64, now: u64, cost: u64, burst: u64) -> Option<u64> {
    let cost = if cost > COST_MAX { COST_MAX } else { cost };
    let ahead = state.wrapping_sub(now);
    // Behind now, or from before a wrap.
    if ahead > burst.wrapping_add(COST_MAX) {
        return Some(now.wrapping_add(cost));
    }
    if ahead.wrapping_add(cost) > burst.max(cost) {
        return None;
    }
    Some(state.wrapping_add(cost))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Passed packets of `offered` a second, evenly, for ten seconds.
    fn passed(rate: u64, offered: u64, start: u64) -> u64 {
        let burst = units(100_000_000);
        let cost = cost(rate);
        let mut state = start;
        let mut passed = 0;
        for n in 0..offered * 10 {
            let now = start.wrapping_add(units(n * 1_000_000_000 / offered));
            if let Some(next) = conform(state, now, cost, burst) {
                state = next;
                passed += 1;
            }
        }
        passed
    }

    #[test]
    fn ten_seconds_stay_within_two_per_cent_and_the_burst() {
        for (rate, offered) in [(1, 1000), (100, 5000), (5000, 20_000), (9000, 10_000)] {
            for start in [0, 1 << 40, u64::MAX - units(3_000_000_000)] {
                let passed = passed(rate, offered, start);
                let want = rate * 10;
                assert!(
                    passed >= want - want / 50 && passed <= want + want / 50 + 1,
                    "{rate} of {offered}: {passed}"
                );
            }
        }
    }

    #[test]
    fn below_the_rate_everything_passes() {
        assert_eq!(passed(1000, 900, 77), 9000);
    }

    proptest! {
        #[test]
        fn state_never_runs_further_ahead_than_the_burst(state: u64, now: u64, cost in 1u64..1 << 40, burst in 0u64..1 << 50) {
            if let Some(next) = conform(state, now, cost, burst) {
                prop_assert!(next.wrapping_sub(now) <= burst.max(cost));
                prop_assert!(conform(next, now, cost, burst).is_none() || 2 * cost <= burst.max(next.wrapping_sub(now)));
            }
        }

        #[test]
        fn no_mix_of_sizes_beats_the_byte_rate(sizes in proptest::collection::vec(1u64..70_000, 1..200), rate in 1_000u64..100_000) {
            let (cost, burst) = (cost(rate), units(100_000_000));
            let (mut state, mut passed) = (0, 0u64);
            for size in &sizes {
                if let Some(next) = conform(state, 0, size * cost, burst) {
                    state = next;
                    passed += size;
                }
            }
            prop_assert!(passed <= rate / 10 + 1 || passed == sizes[0]);
        }
    }
}
