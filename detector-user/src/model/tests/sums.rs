//! Ensembles that sum: boosting, isolation forests and what they are refused for.

use super::*;
use crate::model::{Summation, average_path_length};

/// The card of an ensemble that sums.
fn summing(post_transform: PostTransform, classes: usize, summation: Summation) -> Card {
    Card {
        post_transform,
        summation,
        ..card(5, classes)
    }
}

/// Trees with one value a node, leaves and inner nodes, from -1 to 1.
fn margins(numbers: &mut Numbers, trees: usize) -> Vec<Tree> {
    let mut grown = numbers.trees(trees, 5, 1);
    for tree in &mut grown {
        for value in &mut tree.values {
            *value = numbers.fraction() * 2.0 - 1.0;
        }
    }
    grown
}

/// The sums of a row, tree by tree.
fn sums(trees: &[Tree], summation: &Summation, sums: usize, row: &[f32]) -> Vec<f32> {
    let mut all = summation.base.clone();
    all.resize(sums, 0.0);
    for (number, tree) in trees.iter().enumerate() {
        // One tree's mean is its leaf's value.
        let value = plainly(std::slice::from_ref(tree), 1, row)[0];
        all[summation
            .tree_sums
            .get(number)
            .map_or(0, |&sum| usize::from(sum))] += value;
    }
    all
}

#[test]
fn boosted_trees_are_summed_in_order() {
    let mut numbers = Numbers(11);
    for (transform, classes, trees) in [
        (PostTransform::Logistic, 2, 37),
        (PostTransform::Logistic, 3, 40),
        (PostTransform::Softmax, 3, 39),
        (PostTransform::Identity, 1, 5),
        (PostTransform::Identity, 4, 21),
    ] {
        let base = (0..transform.sums(classes)).map(|n| n as f32 / 7.0 - 0.2);
        let summation = Summation {
            scale: 0.7,
            ..Summation::boosting(base.collect(), trees)
        };
        let grown = margins(&mut numbers, trees);
        let card = summing(transform, classes, summation.clone());
        let model = Ensemble::from_trees(card, &grown).unwrap();
        let model = Ensemble::from_bytes(&model.to_bytes().unwrap()).unwrap();
        let mut got = vec![0.0; classes];
        let mut contributions = [0.0; 5];
        for _ in 0..200 {
            let row: [f32; 5] = std::array::from_fn(|_| numbers.value());
            model.score(&row, &mut got);
            let margins = sums(&grown, &summation, transform.sums(classes), &row);
            let scaled: Vec<f32> = margins.iter().map(|sum| sum * 0.7).collect();
            let logistic = |x: f32| 1.0 / (1.0 + (-x).exp());
            let want: Vec<f32> = match transform {
                PostTransform::Identity => scaled.clone(),
                PostTransform::Logistic if classes == 2 => {
                    vec![1.0 - logistic(scaled[0]), logistic(scaled[0])]
                }
                PostTransform::Logistic => scaled.iter().map(|x| logistic(*x)).collect(),
                _ => {
                    let all: f32 = scaled.iter().map(|x| x.exp()).sum();
                    scaled.iter().map(|x| x.exp() / all).collect()
                }
            };
            for (class, (got, want)) in got.iter().zip(&want).enumerate() {
                assert!(
                    (got - want).abs() < 1e-6,
                    "{transform:?}: {got} is not {want}"
                );
                let start = model.explain(&row, class, &mut contributions);
                let sum = start + contributions.iter().sum::<f32>();
                let margin = match (classes, transform, class) {
                    (2, PostTransform::Logistic, 0) => -scaled[0],
                    (2, PostTransform::Logistic, _) => scaled[0],
                    _ => scaled[class],
                };
                assert!((sum - margin).abs() < 1e-4, "{sum} is not {margin}");
            }
        }
    }
}

#[test]
fn an_isolation_forest_scores_as_its_paths_are_long() {
    let mut numbers = Numbers(12);
    let mut grown = margins(&mut numbers, 30);
    for tree in &mut grown {
        for value in &mut tree.values {
            *value = (*value + 1.0) * 8.0;
        }
    }
    let summation = Summation::isolation(30, 256);
    let card = summing(PostTransform::IsolationScore, 2, summation.clone());
    let model = Ensemble::from_trees(card, &grown).unwrap();
    let mut got = [0.0; 2];
    for _ in 0..200 {
        let row: [f32; 5] = std::array::from_fn(|_| numbers.value());
        model.score(&row, &mut got);
        let mean = f64::from(sums(&grown, &summation, 1, &row)[0]) / 30.0;
        let want = (-mean / average_path_length(256.0)).exp2();
        assert!((f64::from(got[1]) - want).abs() < 1e-6);
        assert_eq!(got[0], 1.0 - got[1]);
    }
    // As the paper has it: 2 H(n − 1) − 2 (n − 1) / n.
    let harmonic: f64 = (1..256).map(|n| 1.0 / f64::from(n)).sum();
    assert!((average_path_length(256.0) - (2.0 * harmonic - 510.0 / 256.0)).abs() < 1e-2);
    assert_eq!([0.0, 1.0, 2.0].map(average_path_length), [0.0, 0.0, 1.0]);
}

#[test]
fn sums_that_cannot_be_made_are_refused() {
    let boosting = |base: &[f32]| Summation::boosting(base.to_vec(), 1);
    let scaled = |scale| Summation {
        scale,
        ..Summation::default()
    };
    let of_tree = |sums: &[u16]| Summation {
        tree_sums: sums.to_vec(),
        ..Summation::default()
    };
    let one = |value| Tree {
        nodes: vec![TreeNode::Leaf],
        values: vec![value],
    };
    let try_it = |transform, classes, summation, value| {
        Ensemble::from_trees(summing(transform, classes, summation), &[one(value)])
    };
    use PostTransform::{Identity, IsolationScore, Logistic, Mean, Softmax};
    assert!(try_it(Logistic, 2, boosting(&[0.5]), 1.0).is_ok());
    assert!(try_it(IsolationScore, 2, Summation::isolation(1, 9), 1.0).is_ok());
    assert!(try_it(Softmax, 3, boosting(&[0.0; 3]), 1.0).is_ok());
    for (number, refused) in [
        try_it(Logistic, 2, boosting(&[0.5, 0.5]), 1.0),
        try_it(Logistic, 2, boosting(&[f32::NAN]), 1.0),
        try_it(Logistic, 2, scaled(0.0), 1.0),
        try_it(Logistic, 2, scaled(f32::INFINITY), 1.0),
        try_it(Logistic, 2, scaled(1.0), f32::NAN),
        try_it(Identity, 2, of_tree(&[2]), 1.0),
        try_it(Identity, 2, of_tree(&[1, 1]), 1.0),
        try_it(Mean, 1, scaled(0.5), 1.0),
        try_it(Softmax, 3, Summation::default(), 1.0),
        try_it(IsolationScore, 3, Summation::isolation(1, 9), 1.0),
        try_it(IsolationScore, 2, Summation::isolation(1, 1), 1.0),
        try_it(IsolationScore, 2, scaled(1.0), 1.0),
        try_it(IsolationScore, 2, Summation::isolation(1, 9), -1.0),
    ]
    .into_iter()
    .enumerate()
    {
        assert!(refused.is_err(), "{number}");
    }
}

#[test]
fn a_file_cut_short_says_where() {
    let bytes = small().to_bytes().unwrap();
    let cut = |length: usize| {
        Ensemble::from_bytes(&bytes[..length])
            .unwrap_err()
            .to_string()
    };
    assert!(cut(40).contains("the header"), "{}", cut(40));
    assert!(cut(70).contains("the list of trees"));
    assert!(cut(200).contains("the section of nodes"));
    assert!(cut(bytes.len() - 3).contains("the card"));
    let mut flipped = bytes.clone();
    flipped[100] ^= 1;
    assert!(matches!(
        Ensemble::from_bytes(&flipped),
        Err(ModelError::Checksum)
    ));
}
