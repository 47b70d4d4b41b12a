//! Parts to leave out, whole groups each.

use super::random::Random;

/// Why a table cannot be parted.
#[derive(Debug, thiserror::Error)]
pub enum FoldsError {
    /// There are too few groups.
    #[error(
        "cannot part the rows into {folds} folds: they come from {groups} groups and a group is never divided; ask for 2 to {groups} folds, or bring more captures"
    )]
    Groups {
        /// Folds asked for.
        folds: usize,
        /// Groups there are.
        groups: usize,
    },
}

/// The fold, 0 to `folds` − 1, of every row. Rows of one group are in one fold, and classes are
/// spread over the folds as evenly as that allows: groups go, the most uneven first, to the fold
/// that leaves the classes' shares over the folds with the least spread (the rule of
/// scikit-learn's `StratifiedGroupKFold`). `seed` orders groups that are alike.
///
/// # Errors
/// [`FoldsError`] where there are fewer groups than folds, or fewer folds than two.
///
/// # Panics
/// Where there is not one group a row.
pub fn folds(
    groups: &[u32],
    labels: &[u16],
    folds: usize,
    seed: u64,
) -> Result<Vec<u16>, FoldsError> {
    assert_eq!(groups.len(), labels.len(), "groups");
    let classes = labels.iter().max().map_or(0, |&max| usize::from(max) + 1);
    let mut names: Vec<u32> = groups.to_vec();
    names.sort_unstable();
    names.dedup();
    if folds < 2 || folds > names.len().min(usize::from(u16::MAX)) {
        return Err(FoldsError::Groups {
            folds,
            groups: names.len(),
        });
    }
    let place = |group: &u32| names.partition_point(|name| name < group);
    let mut counts = vec![vec![0.0_f64; classes]; names.len()];
    let mut totals = vec![0.0_f64; classes];
    for (group, &label) in groups.iter().zip(labels) {
        counts[place(group)][usize::from(label)] += 1.0;
        totals[usize::from(label)] += 1.0;
    }

    let mut order: Vec<usize> = (0..names.len()).collect();
    let mut random = Random::new(seed, 0);
    for last in (1..order.len()).rev() {
        order.swap(last, random.below(last + 1));
    }
    order.sort_by(|&a, &b| deviation(&counts[b]).total_cmp(&deviation(&counts[a])));

    let mut filled = vec![vec![0.0_f64; classes]; folds];
    let mut fold_of = vec![0_u16; names.len()];
    for group in order {
        let spread_with = |fold: usize| -> f64 {
            (0..classes)
                .filter(|&class| totals[class] > 0.0)
                .map(|class| {
                    let share = |(n, filled): (usize, &Vec<f64>)| {
                        let more = if n == fold { counts[group][class] } else { 0.0 };
                        (filled[class] + more) / totals[class]
                    };
                    let shares: Vec<f64> = filled.iter().enumerate().map(share).collect();
                    deviation(&shares)
                })
                .sum()
        };
        let rows = |fold: usize| filled[fold].iter().sum::<f64>();
        let spreads: Vec<f64> = (0..folds).map(spread_with).collect();
        let by_spread = |&a: &usize, &b: &usize| {
            let fewer = rows(a).total_cmp(&rows(b));
            spreads[a].total_cmp(&spreads[b]).then(fewer)
        };
        let fold = (0..folds).min_by(by_spread).unwrap_or(0);
        for (filled, count) in filled[fold].iter_mut().zip(&counts[group]) {
            *filled += count;
        }
        fold_of[group] = fold as u16;
    }
    Ok(groups.iter().map(|group| fold_of[place(group)]).collect())
}

/// Standard deviation of all there is.
fn deviation(values: &[f64]) -> f64 {
    let n = values.len().max(1) as f64;
    let mean = values.iter().sum::<f64>() / n;
    (values.iter().map(|v| (v - mean).powi(2)).sum::<f64>() / n).sqrt()
}
