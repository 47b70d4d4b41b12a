//! The integer form gives the labels that the floating-point one does.

use super::*;
use crate::model::Summation;

#[test]
fn integers_give_the_same_labels() {
    let mut numbers = Numbers(31);
    let mut compared = 0;
    for (post_transform, classes, trees) in [
        (PostTransform::Mean, 2, 33),
        (PostTransform::Mean, 7, 20),
        (PostTransform::Logistic, 2, 40),
        (PostTransform::Softmax, 3, 30),
        (PostTransform::Identity, 4, 24),
        (PostTransform::IsolationScore, 2, 25),
    ] {
        let mut card = card(9, classes);
        card.post_transform = post_transform;
        card.summation = match post_transform {
            PostTransform::Mean => Summation::default(),
            PostTransform::IsolationScore => Summation::isolation(trees, 16),
            _ => Summation::boosting(vec![0.1; post_transform.sums(classes)], trees),
        };
        let width = card.node_values();
        let mut grown = numbers.trees(trees, 9, width);
        if post_transform != PostTransform::Mean {
            let (low, high) = match post_transform {
                PostTransform::IsolationScore => (0.0, 9.0),
                _ => (-1.0, 1.0),
            };
            for value in grown.iter_mut().flat_map(|tree| &mut tree.values) {
                *value = low + numbers.fraction() * (high - low);
            }
        }
        let model = Ensemble::from_trees(card, &grown).unwrap();
        let tables = model.ranked().unwrap();
        let ranked = tables.ensemble();
        let mut scores = vec![0.0; classes];
        let (mut ranks, mut sums) = ([0; 9], vec![0; model.card().sums()]);
        for _ in 0..500 {
            let row: [f32; 9] = std::array::from_fn(|_| numbers.value());
            model.score(&row, &mut scores);
            ranked.ranks(&row.map(f32::to_bits), &mut ranks).unwrap();
            ranked.sums(&ranks, &mut sums).unwrap();
            let mut sorted = scores.clone();
            sorted.sort_by(f32::total_cmp);
            if sorted[classes - 1] - sorted[classes - 2] < 1e-5 {
                continue;
            }
            let label = scores
                .iter()
                .position(|score| *score == sorted[classes - 1]);
            assert_eq!(
                ranked.label(&sums),
                label,
                "{post_transform:?} {scores:?} {sums:?}"
            );
            compared += 1;
        }
    }
    assert!(compared > 2900, "{compared}");
}

#[test]
fn the_model_that_is_built_in_has_an_integer_form() {
    let bytes = include_bytes!("../../../../models/default/model.bin");
    let model = Ensemble::from_bytes(bytes).unwrap();
    let tables = model.ranked().unwrap();
    let ranked = tables.ensemble();
    let mut numbers = Numbers(32);
    let (features, classes) = (model.features(), model.classes());
    let (mut scores, mut raw) = (vec![0.0; classes], vec![0.0; classes]);
    let (mut ranks, mut sums) = (vec![0; features], vec![0; classes]);
    for _ in 0..300 {
        let row: Vec<f32> = (0..features)
            .map(|_| numbers.value() * numbers.below(1000) as f32)
            .collect();
        model.score(&row, &mut scores);
        model.score_raw(&row, &mut raw);
        let bits: Vec<u32> = row.iter().map(|x| x.to_bits()).collect();
        ranked.ranks(&bits, &mut ranks).unwrap();
        ranked.sums(&ranks, &mut sums).unwrap();
        for (raw, sum) in raw.iter().zip(&sums) {
            let mean = *sum as f64 / tables.unit() / model.trees() as f64;
            assert!((f64::from(*raw) - mean).abs() < 1e-6, "{raw} is not {mean}");
        }
    }
}
