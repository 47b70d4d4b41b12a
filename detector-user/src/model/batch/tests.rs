//! Many rows at once against one by one, to the bit.

use super::{super::tests::*, *};
use crate::model::{PostTransform, Summation, Tree};

/// What this processor can do, and what it can do too.
fn instructions() -> Vec<Instructions> {
    let all = [
        Instructions::Scalar,
        Instructions::Avx2,
        Instructions::Avx512,
    ];
    let here = all
        .iter()
        .position(|one| *one == Instructions::here())
        .unwrap();
    all[..=here].to_vec()
}

fn ensembles(numbers: &mut Numbers) -> Vec<Ensemble> {
    let mut all = Vec::new();
    for (trees, features, classes) in [(1, 1, 2), (17, 5, 2), (23, 78, 3), (9, 200, 15)] {
        let grown = numbers.trees(trees, features, classes);
        all.push(Ensemble::from_trees(card(features, classes), &grown).unwrap());
    }
    for (post_transform, classes) in [
        (PostTransform::Logistic, 2),
        (PostTransform::Softmax, 3),
        (PostTransform::Identity, 1),
        (PostTransform::IsolationScore, 2),
    ] {
        for splits in [1, 15, 31, 63, 130, 250, 400] {
            let trees: Vec<Tree> = (0..12)
                .map(|_| {
                    let splits = numbers.below(splits + 1);
                    let mut tree = numbers.tree(7, 1, splits);
                    for value in &mut tree.values {
                        *value = numbers.fraction();
                    }
                    tree
                })
                .collect();
            let sums = post_transform.sums(classes);
            let summation = match post_transform {
                PostTransform::IsolationScore => Summation::isolation(trees.len(), 256),
                _ => Summation::boosting(vec![0.25; sums], trees.len()),
            };
            let card = crate::model::Card {
                post_transform,
                summation,
                ..card(7, classes)
            };
            all.push(Ensemble::from_trees(card, &trees).unwrap());
        }
    }
    all
}

#[test]
fn many_rows_score_as_one_by_one_to_the_bit() {
    let mut numbers = Numbers(21);
    let mut scratch = Scratch::default();
    let (mut whole, mut headed) = (0, 0);
    for model in ensembles(&mut numbers) {
        for rows in [0, 1, 9, 10, 65, 256, 300] {
            let missing = numbers.below(2) == 0;
            let values: Vec<f32> = (0..rows * model.features())
                .map(|_| {
                    if missing {
                        numbers.value()
                    } else {
                        numbers.fraction()
                    }
                })
                .collect();
            let mut want = vec![0.0; rows * model.classes()];
            let each = values
                .chunks(model.features())
                .zip(want.chunks_mut(model.classes()));
            for (row, want) in each {
                model.score(row, want);
            }
            for instructions in instructions() {
                let plan = Plan::new(&model, instructions);
                for (tree, planned) in plan.trees.iter().enumerate() {
                    whole += usize::from(planned.rest == 0);
                    headed += usize::from(planned.rest > 0 && !plan.head(tree).inner.is_empty());
                }
                let mut got = vec![f32::NAN; want.len()];
                model.score_rows_with(&plan, &values, &mut got, &mut scratch);
                let same = got
                    .iter()
                    .zip(&want)
                    .all(|(a, b)| a.to_bits() == b.to_bits());
                assert!(same, "{instructions:?}, {rows} rows");
            }
        }
    }
    assert!(whole > 0 && headed > 0 || Instructions::here() == Instructions::Scalar);
}
