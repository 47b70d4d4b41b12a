//! What a model goes by.

use serde::Serialize;

use super::table::Table;
use crate::model::Ensemble;

/// Rows of a class that are looked at.
const ROWS_MAX: usize = 2_000;

/// What a feature adds to the probability of a row's own class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Importance {
    /// The feature.
    pub feature: String,
    /// Mean over the classes of the weighted mean of what it adds, in probability.
    pub mean: f64,
    /// By class.
    pub by_class: Vec<f64>,
}

/// Features by what they add to the probability of rows' own classes ([`Ensemble::explain`]), the most first.
///
/// # Panics
/// Where the table has other features than the model.
#[must_use]
pub fn importances(ensemble: &Ensemble, table: &Table) -> Vec<Importance> {
    let (features, classes) = (table.features(), table.classes());
    let mut sums = vec![vec![0.0_f64; classes]; features];
    let mut weights = vec![0.0_f64; classes];
    let mut rows_of = vec![Vec::new(); classes];
    for (row, &label) in table.labels().iter().enumerate() {
        rows_of[usize::from(label)].push(row);
    }
    let (mut values, mut added) = (vec![0.0; features], vec![0.0; features]);
    for (class, rows) in rows_of.iter().enumerate() {
        for row in rows.iter().step_by(rows.len().div_ceil(ROWS_MAX).max(1)) {
            let weight = f64::from(table.weights()[*row]);
            table.row(*row, &mut values);
            ensemble.explain(&values, class, &mut added);
            weights[class] += weight;
            for (sums, added) in sums.iter_mut().zip(&added) {
                sums[class] += weight * f64::from(*added);
            }
        }
    }
    let names = &table.schema().features;
    let mut all: Vec<Importance> = (names.iter().zip(sums))
        .map(|(feature, sums)| {
            let each = sums.iter().zip(&weights);
            let by_class: Vec<f64> = each
                .map(|(sum, weight)| if *weight > 0.0 { sum / weight } else { 0.0 })
                .collect();
            Importance {
                feature: feature.clone(),
                mean: by_class.iter().sum::<f64>() / classes as f64,
                by_class,
            }
        })
        .collect();
    all.sort_by(|a, b| b.mean.total_cmp(&a.mean));
    all
}
