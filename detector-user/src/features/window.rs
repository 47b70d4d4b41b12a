//! Counts that fade: what a window over the recent past is made of, in constant memory.

/// A short memory, s: what happens now.
pub const FAST_S: f64 = 2.0;
/// A long memory, s: what has been going on.
pub const SLOW_S: f64 = 60.0;

/// How much of each memory is left after some time.
#[derive(Clone, Copy, Debug)]
pub struct Fade {
    /// Of the short one.
    pub fast: f32,
    /// Of the long one.
    pub slow: f32,
}

impl Fade {
    /// After `elapsed_us`: e^(−t/τ).
    #[must_use]
    pub fn after(elapsed_us: u64) -> Self {
        let elapsed_s = elapsed_us as f64 / 1e6;
        Self {
            fast: (-elapsed_s / FAST_S).exp() as f32,
            slow: (-elapsed_s / SLOW_S).exp() as f32,
        }
    }
}

/// Bits of a [`Distinct`]'s generation.
const BITS: u32 = 256;
/// How long a generation takes, µs: what was seen within one to two of them counts.
const GENERATION_US: u64 = 30_000_000;

/// How many different values were seen lately: linear counting over two generations of a bitmap (Whang, Vander-Zanden
/// and Taylor, "A linear-time probabilistic counting algorithm", 1990). Exact to some percent up to 256, and at most 1,420.
#[derive(Clone, Copy, Debug, Default)]
pub struct Distinct {
    now: [u64; 4],
    before: [u64; 4],
    generation: u32,
}

impl Distinct {
    /// Notes a value by its hash.
    pub fn add(&mut self, hash: u64, now_us: u64) {
        self.turn(now_us);
        let bit = (hash >> 32) as u32 % BITS;
        self.now[(bit / 64) as usize] |= 1 << (bit % 64);
    }

    /// About how many.
    #[must_use]
    pub fn estimate(&self, now_us: u64) -> f32 {
        let mut seen = *self;
        seen.turn(now_us);
        let ones: u32 = (0..4)
            .map(|n| (seen.now[n] | seen.before[n]).count_ones())
            .sum();
        // A full bitmap tells only that there were very many.
        let zeros = (BITS - ones).max(1);
        BITS as f32 * (BITS as f32 / zeros as f32).ln()
    }

    fn turn(&mut self, now_us: u64) {
        let generation = (now_us / GENERATION_US) as u32;
        match generation.wrapping_sub(self.generation) {
            0 => return,
            1 => self.before = self.now,
            _ => self.before = [0; 4],
        }
        self.now = [0; 4];
        self.generation = generation;
    }
}

/// Spreads a number over 64 bits (the finalizer of SplitMix64: Steele, Lea and Flood, OOPSLA 2014).
#[must_use]
pub fn spread(n: u64) -> u64 {
    let n = (n ^ n >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ n >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ n >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn distinct_values_are_counted_once_and_forgotten() {
        let mut distinct = Distinct::default();
        for round in 0..3u64 {
            for n in 0..100 {
                distinct.add(spread(n), round * 1_000_000);
            }
        }
        let about = distinct.estimate(3_000_000);
        assert!((85.0..115.0).contains(&about), "{about}");
        assert_eq!(distinct.estimate(200_000_000), 0.0);
        for n in 0..1_000_000 {
            distinct.add(spread(n), 3_000_000);
        }
        assert!(distinct.estimate(3_000_000) > 1_000.0);
    }
}
