//! The population stability index.

/// No share counts as less: an empty bin would be infinitely far from a full one.
const SHARE_MIN: f64 = 1e-4;

/// How far two spreads over the same bins are apart: Σ (a − b) · ln(a / b), the divergence of Jeffreys, which is Kullback and
/// Leibler's taken both ways (1951), called population stability index by Siddiqi ("Credit Risk Scorecards", 2006), who takes
/// less than 0.1 for no change and more than 0.25 for a great one. Shares below 1e-4 count as that. Of `n` rows drawn from a
/// spread of `k` bins it comes to about (k − 1) / n by chance (Yurdakul, 2018).
#[must_use]
pub fn psi(shares: impl Iterator<Item = (f64, f64)>) -> f64 {
    let term = |(a, b): (f64, f64)| {
        let (a, b) = (a.max(SHARE_MIN), b.max(SHARE_MIN));
        (a - b) * (a / b).ln()
    };
    shares.map(term).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn shares() -> impl Strategy<Value = Vec<f64>> {
        prop::collection::vec(0_u32..1000, 11).prop_filter_map("some", |counts| {
            let sum: u32 = counts.iter().sum();
            let share = |count: &u32| f64::from(*count) / f64::from(sum);
            (sum > 0).then(|| counts.iter().map(share).collect())
        })
    }

    fn between(a: &[f64], b: &[f64]) -> f64 {
        psi(a.iter().copied().zip(b.iter().copied()))
    }

    proptest! {
        #[test]
        fn it_is_0_of_the_same_and_the_same_both_ways(a in shares(), b in shares()) {
            prop_assert_eq!(between(&a, &a), 0.0);
            prop_assert!(between(&a, &b) >= 0.0);
            prop_assert!((between(&a, &b) - between(&b, &a)).abs() < 1e-9);
        }

        #[test]
        fn it_grows_with_what_moves(a in 0.05_f64..0.95, d in 0.01_f64..0.02) {
            let moved = |by: f64| between(&[a, 1.0 - a], &[a - by, 1.0 - a + by]);
            prop_assert!(0.0 < moved(d) && moved(d) < moved(2.0 * d));
        }
    }

    #[test]
    fn it_comes_to_what_it_is_by_hand() {
        let found = between(&[0.5, 0.5], &[0.25, 0.75]);
        let by_hand = 0.25 * 2_f64.ln() + -0.25 * (0.5_f64 / 0.75).ln();
        assert!((found - by_hand).abs() < 1e-12 && (found - 0.274_653).abs() < 1e-6);
        // An empty bin is far, not infinitely far.
        let far = between(&[0.8, 0.2], &[1.0, 0.0]);
        assert!((far - 1.564_5).abs() < 1e-3, "{far}");
    }
}
