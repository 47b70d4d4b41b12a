//! What live rows are held against later: how the rows that a model learnt from are spread, feature by feature, and its scores.

use super::table::Table;
use crate::model::{Ensemble, ModelError, Reference, Spread};

/// More rows change a spread by less than a row in a thousand.
const ROWS_MAX: usize = 200_000;

/// Those rows that count: where a class is benign, what is usual is what it has. A row is there as often as it has `copies`,
/// where it is known which were left out as its duplicates: a live one is.
#[must_use]
pub fn usual(table: &Table, rows: &[u32], benign: Option<u16>, copies: Option<&[u32]>) -> Vec<u32> {
    let labels = table.labels();
    let is_usual = |row: &&u32| benign.is_none_or(|benign| labels[**row as usize] == benign);
    let times = |row: u32| copies.map_or(1, |copies| copies[row as usize] as usize);
    (rows.iter().filter(is_usual))
        .flat_map(|&row| std::iter::repeat_n(row, times(row)))
        .collect()
}

/// The model with a reference: of its features in the [`usual`] rows that it learnt from, and of scores that it gives the class (the
/// benign one, or the first) in rows that it did not. Rows count as they are, whatever they weigh in learning: so do live ones.
/// A model of no such rows stays as it is.
///
/// # Errors
/// [`ModelError`] where there is no such class.
pub fn with_reference(
    ensemble: Ensemble,
    (table, usual): (&Table, &[u32]),
    benign: Option<u16>,
    scores: impl Iterator<Item = f32>,
) -> Result<Ensemble, ModelError> {
    let rows = spread_out(usual);
    let scores: Vec<f32> = scores.filter(|score| !score.is_nan()).collect();
    if rows.is_empty() || scores.is_empty() {
        return Ok(ensemble);
    }
    let mut card = ensemble.card().clone();
    let features = ensemble.used_features().into_iter().map(|feature| {
        let column = table.column(feature);
        let values = rows.iter().map(|&row| column[row as usize]).collect();
        (card.features[feature].clone(), Spread::of(values))
    });
    card.reference = Some(Reference {
        rows: rows.len() as u64,
        class: card.classes[usize::from(benign.unwrap_or(0))].clone(),
        score: Spread::of(spread_out(&scores)),
        features: features.collect(),
    });
    ensemble.with_card(card)
}

/// At most [`ROWS_MAX`] of some, evenly.
fn spread_out<T: Copy>(all: &[T]) -> Vec<T> {
    let step = all.len().div_ceil(ROWS_MAX).max(1);
    all.iter().step_by(step).copied().collect()
}
