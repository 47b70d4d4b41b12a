//! The best cut of one feature's histogram by Gini impurity.

use super::bins::MISSING;

/// A cut: bins up to `bin` go left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Cut {
    /// Σ over both sides of the sum of squared class weights over the side's weight; the cut
    /// that makes it largest leaves the least impurity.
    pub(super) purity: f64,
    pub(super) bin: u8,
    pub(super) missing_left: bool,
}

/// What a histogram says.
pub(super) enum Search {
    /// All rows are in one bin.
    Constant,
    /// The best cut that makes the purity larger than `purity_min`, if any.
    Cut(Option<Cut>),
}

/// Sum of squares over the sum: a side's part of [`Cut::purity`].
pub(super) fn purity(weights: &[u32]) -> f64 {
    let (mut sum, mut squares) = (0.0, 0.0);
    for &weight in weights {
        let weight = f64::from(weight);
        sum += weight;
        squares += weight * weight;
    }
    if sum > 0.0 { squares / sum } else { 0.0 }
}

/// Searches a histogram of bins × classes for the best cut. `totals` are the node's class
/// weights, `weight_min` the least weight of a side, `left` is scratch of one place a class.
/// Missing values are tried on both sides; where there are none they go to the heavier side.
#[inline(always)]
pub(super) fn search(
    histogram: &[u32],
    bins: usize,
    totals: &[u32],
    weight_min: u64,
    purity_min: f64,
    left: &mut [u32],
) -> Search {
    let classes = totals.len();
    let missing = &histogram[usize::from(MISSING) * classes..][..classes];
    let total: u64 = totals.iter().map(|&weight| u64::from(weight)).sum();
    let missing_weight: u64 = missing.iter().map(|&weight| u64::from(weight)).sum();
    left.fill(0);
    let mut left_weight = 0;
    let mut best: Option<Cut> = None;
    let mut purity_best = purity_min;
    let mut filled = u32::from(missing_weight > 0);
    // The bin of `best`, as long as no row lies beyond it yet.
    let mut gap_from = None;
    for bin in 0..bins {
        let row = &histogram[bin * classes..][..classes];
        let weight: u64 = row.iter().map(|&weight| u64::from(weight)).sum();
        if weight == 0 {
            continue;
        }
        filled += 1;
        // Any edge of the empty stretch parts the same rows; the middle one is the fairest.
        if let (Some(from), Some(best)) = (gap_from.take(), &mut best) {
            best.bin = ((from + bin - 1) / 2) as u8;
        }
        for (left, weight) in left.iter_mut().zip(row) {
            *left += weight;
        }
        left_weight += weight;
        for missing_left in [false, true] {
            let extra = if missing_left { missing_weight } else { 0 };
            let here = left_weight + extra;
            let there = total - here;
            if missing_left && missing_weight == 0 || here.min(there) < weight_min.max(1) {
                continue;
            }
            let (mut of_left, mut of_right) = (0.0, 0.0);
            for class in 0..classes {
                let extra = if missing_left { missing[class] } else { 0 };
                let on_left = left[class] + extra;
                let (l, r) = (f64::from(on_left), f64::from(totals[class] - on_left));
                of_left += l * l;
                of_right += r * r;
            }
            let purity = of_left / here as f64 + of_right / there as f64;
            if purity > purity_best {
                purity_best = purity;
                let lighter = missing_weight == 0 && here > there;
                best = Some(Cut {
                    purity,
                    bin: bin as u8,
                    missing_left: missing_left || lighter,
                });
                gap_from = Some(bin);
            }
        }
    }
    if filled < 2 {
        return Search::Constant;
    }
    // Every value went left and only missing ones right: so shall values not seen.
    if let (Some(_), Some(best)) = (gap_from, &mut best) {
        best.bin = (bins - 1) as u8;
    }
    Search::Cut(best)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Search, purity, search};
    use crate::train::bins::BINS;

    /// Every cut between bins, with missing values on either side.
    fn best_plainly(histogram: &[Vec<u32>], bins: usize, least: u64) -> f64 {
        let missing = &histogram[BINS - 1];
        let weight = |side: &[u32]| side.iter().map(|w| u64::from(*w)).sum::<u64>();
        let mut best = f64::MIN;
        for cut in 0..bins {
            for missing_left in [false, true] {
                let mut sides = [vec![0; missing.len()], vec![0; missing.len()]];
                for (bin, row) in histogram.iter().enumerate() {
                    let left = if bin == BINS - 1 {
                        missing_left
                    } else {
                        bin <= cut
                    };
                    for (sum, w) in sides[usize::from(!left)].iter_mut().zip(row) {
                        *sum += w;
                    }
                }
                if sides.iter().all(|side| weight(side) >= least.max(1)) {
                    best = best.max(purity(&sides[0]) + purity(&sides[1]));
                }
            }
        }
        best
    }

    proptest! {
        #[test]
        fn the_search_finds_the_best_cut(
            filled in prop::collection::vec((0_usize..20, 0_usize..3, 1_u32..50), 1..30),
            missing in prop::collection::vec((0_usize..3, 1_u32..50), 0..3),
            least in 0_u64..40,
        ) {
            let bins = 20;
            let mut histogram = vec![vec![0_u32; 3]; BINS];
            for (bin, class, weight) in filled {
                histogram[bin][class] += weight;
            }
            for (class, weight) in missing {
                histogram[BINS - 1][class] += weight;
            }
            let totals: Vec<u32> = (0..3).map(|c| histogram.iter().map(|row| row[c]).sum()).collect();
            let before = purity(&totals);
            let best = best_plainly(&histogram, bins, least);
            let flat = histogram.concat();
            match search(&flat, bins, &totals, least, before * (1.0 + 1e-10), &mut [0; 3]) {
                Search::Constant => {
                    prop_assert_eq!(histogram.iter().filter(|row| row.iter().any(|w| *w > 0)).count(), 1);
                }
                Search::Cut(None) => prop_assert!(best <= before * (1.0 + 1e-9)),
                Search::Cut(Some(cut)) => {
                    prop_assert!((cut.purity - best).abs() <= 1e-9 * best);
                    prop_assert!(usize::from(cut.bin) < bins);
                    // The cut says what it promises.
                    let mut sides = [[0_u32; 3]; 2];
                    for (bin, row) in histogram.iter().enumerate() {
                        let left = if bin == BINS - 1 { cut.missing_left } else { bin <= usize::from(cut.bin) };
                        for (sum, w) in sides[usize::from(!left)].iter_mut().zip(row) {
                            *sum += w;
                        }
                    }
                    prop_assert!((purity(&sides[0]) + purity(&sides[1]) - best).abs() <= 1e-9 * best);
                }
            }
        }
    }
}
