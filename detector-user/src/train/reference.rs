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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        model::{Card, Split, Tree, TreeNode, feature_hash},
        train::Schema,
    };

    #[test]
    fn usual_rows_count_as_often_as_they_are_and_features_that_no_tree_looks_at_do_not() {
        let names = |names: [&str; 2]| names.map(str::to_owned).to_vec();
        let (features, classes) = (names(["a", "b"]), names(["attack", "benign"]));
        let schema = Schema {
            feature_set: "test/1".to_owned(),
            features: features.clone(),
            classes: classes.clone(),
        };
        let columns = vec![1.0, 2.0, 3.0, 9.0, 0.0, 0.0, 0.0, 0.0];
        let table = Table::new(schema, columns, vec![1, 1, 0, 1], vec![1.0; 4], vec![0; 4]);
        let table = table.unwrap();
        // The last row was not learnt from; of the second there were three.
        let usual = usual(&table, &[0, 1, 2], Some(1), Some(&[1, 3, 5, 1]));
        assert_eq!(usual, [0, 1, 1, 1]);
        let card = Card {
            feature_set: "test/1".to_owned(),
            feature_hash: feature_hash("test/1", &features),
            features,
            classes,
            ..Card::default()
        };
        let split = TreeNode::Split(Split {
            feature: 0,
            threshold: 1.5,
            missing_left: true,
            left: 1,
            right: 2,
        });
        let tree = Tree {
            nodes: vec![split, TreeNode::Leaf, TreeNode::Leaf],
            values: vec![0.5, 0.5, 0.0, 1.0, 1.0, 0.0],
        };
        let model = Ensemble::from_trees(card, &[tree]).unwrap();
        let scores = [0.5, f32::NAN, 0.7].into_iter();
        let model = with_reference(model, (&table, &usual), Some(1), scores).unwrap();
        let reference = model.card().reference.as_ref().unwrap();
        assert_eq!((reference.rows, &*reference.class), (4, "benign"));
        assert!(reference.features.keys().eq(["a"]));
        assert_eq!(
            reference.features["a"],
            Spread::of(vec![1.0, 2.0, 2.0, 2.0])
        );
        assert_eq!(reference.score, Spread::of(vec![0.5, 0.7]));
        // Without rows there is nothing to be held against.
        let mut card = model.card().clone();
        card.reference = None;
        let model = model.with_card(card).unwrap();
        let none = with_reference(model, (&table, &[]), Some(1), [0.5].into_iter()).unwrap();
        assert!(none.card().reference.is_none());
    }
}
