//! Scores of a table's rows, also of rows that the model has not seen.

use super::{
    folds::folds,
    forest::{ForestOptions, TrainError, thread_count, train_forest},
    table::Table,
};
use crate::model::{Ensemble, ModelError, Scratch};

/// Rows scored at once.
const ROWS_AT_ONCE: usize = 1024;

/// The probabilities of `rows` of a table: rows × classes. `threads` as in [`ForestOptions`].
///
/// # Errors
/// [`ModelError`] where the table has other features than the model.
///
/// # Panics
/// Where a row is not there.
pub fn predict(
    ensemble: &Ensemble,
    table: &Table,
    rows: &[u32],
    threads: usize,
) -> Result<Vec<f32>, ModelError> {
    let schema = table.schema();
    let names: Vec<&str> = schema.features.iter().map(String::as_str).collect();
    ensemble.check_features(&schema.feature_set, &names)?;
    let classes = ensemble.classes();
    let mut probabilities = vec![0.0; rows.len() * classes];
    let share = rows.len().div_ceil(thread_count(threads)).max(1);
    std::thread::scope(|scope| {
        let shares = rows
            .chunks(share)
            .zip(probabilities.chunks_mut(share * classes));
        for (rows, probabilities) in shares {
            scope.spawn(move || {
                let features = table.features();
                let mut values = vec![0.0; features * ROWS_AT_ONCE];
                let mut scratch = Scratch::default();
                let batches = rows.chunks(ROWS_AT_ONCE);
                for (rows, probabilities) in
                    batches.zip(probabilities.chunks_mut(ROWS_AT_ONCE * classes))
                {
                    let values = &mut values[..rows.len() * features];
                    for (&row, values) in rows.iter().zip(values.chunks_exact_mut(features)) {
                        table.row(row as usize, values);
                    }
                    ensemble.score_rows(values, probabilities, &mut scratch);
                }
            });
        }
    });
    Ok(probabilities)
}

/// The probabilities (rows × classes) that each row of a table gets from a forest trained
/// without the row's fold, and so without its group. `folds_wanted` forests are trained;
/// `progress` is called after each tree of each.
///
/// # Errors
/// [`TrainError`], also where there are too few groups.
pub fn out_of_fold(
    table: &Table,
    folds_wanted: usize,
    options: &ForestOptions,
    progress: &(dyn Fn() + Sync),
) -> Result<Vec<f32>, TrainError> {
    let fold_of = folds(table.groups(), table.labels(), folds_wanted, options.seed)?;
    let classes = table.classes();
    let mut probabilities = vec![0.0; table.rows() * classes];
    for fold in 0..folds_wanted {
        let (held, kept): (Vec<u32>, Vec<u32>) = table
            .all_rows()
            .into_iter()
            .partition(|&row| usize::from(fold_of[row as usize]) == fold);
        let trained = train_forest(table, &kept, options, progress)?;
        let scores = predict(&trained.ensemble, table, &held, options.threads)?;
        for (row, scores) in held.iter().zip(scores.chunks(classes)) {
            probabilities[*row as usize * classes..][..classes].copy_from_slice(scores);
        }
    }
    Ok(probabilities)
}
