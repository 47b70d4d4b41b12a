//! Random numbers that are the same on every machine and with every version of any crate.

/// SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014).
#[derive(Clone, Debug)]
pub(super) struct Random(u64);

impl Random {
    /// The `stream`-th sequence of a seed.
    pub(super) fn new(seed: u64, stream: u64) -> Self {
        // A step of its own between them, so that streams are not shifts of one another.
        let mut of_seed = Self(seed);
        Self(
            of_seed
                .next()
                .wrapping_add(Self(stream ^ 0x5851_f42d_4c95_7f2d).next()),
        )
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `bound`, which is not 0. Its bias is below `bound` / 2⁶⁴.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.next()) * bound as u128) >> 64) as usize
    }
}
