//! Round trips, refusals, and the walk against a plain one.

mod ranked;
mod reference;
mod signatures;
mod sums;

use proptest::prelude::*;
use sha2::{Digest as _, Sha256};

use super::{
    Card, Curve, Ensemble, ModelError, OperatingPoint, PostTransform, Split, Tree, TreeNode,
    feature_hash, node::Node,
};

pub(super) fn card(features: usize, classes: usize) -> Card {
    let features: Vec<String> = (0..features).map(|n| format!("feature {n}")).collect();
    Card {
        name: "test".to_owned(),
        version: "1".to_owned(),
        feature_set: "flow/1".to_owned(),
        feature_hash: feature_hash("flow/1", &features),
        features,
        classes: (0..classes).map(|n| format!("class {n}")).collect(),
        metrics: [("auc".to_owned(), 0.1 + 0.2)].into(),
        ..Card::default()
    }
}

/// Numbers that look random, the same each time (Steele et al.'s SplitMix64).
pub(super) struct Numbers(pub(super) u64);

impl Numbers {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    pub(super) fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }

    pub(super) fn fraction(&mut self) -> f32 {
        (self.next() >> 40) as f32 / (1 << 24) as f32
    }

    /// A value with thresholds' own values, infinities and missing ones among them.
    pub(super) fn value(&mut self) -> f32 {
        match self.below(16) {
            0 => f32::NAN,
            1 => f32::INFINITY,
            2 => f32::NEG_INFINITY,
            n if n < 10 => self.below(8) as f32 / 8.0,
            _ => self.fraction(),
        }
    }

    pub(super) fn tree(&mut self, features: usize, classes: usize, splits: usize) -> Tree {
        let mut nodes = vec![TreeNode::Leaf];
        for _ in 0..splits {
            let place = loop {
                let place = self.below(nodes.len());
                if nodes[place] == TreeNode::Leaf {
                    break place;
                }
            };
            nodes[place] = TreeNode::Split(Split {
                feature: self.below(features) as u16,
                threshold: match self.below(12) {
                    0 => f32::INFINITY,
                    n if n < 6 => self.below(8) as f32 / 8.0,
                    _ => self.fraction(),
                },
                missing_left: self.below(2) == 0,
                left: nodes.len() as u32 + 1,
                right: nodes.len() as u32,
            });
            nodes.extend([TreeNode::Leaf; 2]);
        }
        let mut values = Vec::new();
        for _ in &nodes {
            let row: Vec<f32> = (0..classes).map(|_| self.fraction() + 0.01).collect();
            let sum: f32 = row.iter().sum();
            values.extend(row.iter().map(|v| v / sum));
        }
        Tree { nodes, values }
    }

    pub(super) fn trees(&mut self, trees: usize, features: usize, classes: usize) -> Vec<Tree> {
        (0..trees)
            .map(|_| {
                let splits = self.below(40);
                self.tree(features, classes, splits)
            })
            .collect()
    }
}

fn small() -> Ensemble {
    let trees = Numbers(7).trees(3, 4, 2);
    Ensemble::from_trees(card(4, 2), &trees).unwrap()
}

/// One tree after the other, node by node, as the trees were before they were laid out.
fn plainly(trees: &[Tree], classes: usize, row: &[f32]) -> Vec<f32> {
    let mut sums = vec![0.0; classes];
    for tree in trees {
        let mut at = 0;
        while let TreeNode::Split(split) = tree.nodes[at] {
            let x = row[usize::from(split.feature)];
            let left = if x.is_nan() {
                split.missing_left
            } else {
                x <= split.threshold
            };
            at = if left { split.left } else { split.right } as usize;
        }
        for (sum, value) in sums.iter_mut().zip(&tree.values[at * classes..]) {
            *sum += value;
        }
    }
    sums.iter().map(|sum| sum / trees.len() as f32).collect()
}

/// Gives changed bytes the checksum that makes them credible.
fn sealed(mut bytes: Vec<u8>) -> Vec<u8> {
    if bytes.len() >= 64 {
        let mut hash = Sha256::new();
        hash.update(&bytes[..32]);
        hash.update(&bytes[64..]);
        bytes[32..64].copy_from_slice(&hash.finalize());
    }
    bytes
}

#[test]
fn in_step_is_one_by_one_to_the_bit() {
    let mut numbers = Numbers(1);
    for (trees, features, classes) in [(1, 1, 2), (3, 5, 2), (16, 7, 3), (39, 78, 2), (53, 9, 15)] {
        let grown = numbers.trees(trees, features, classes);
        let ensemble = Ensemble::from_trees(card(features, classes), &grown).unwrap();
        let read = Ensemble::from_bytes(&ensemble.to_bytes().unwrap()).unwrap();
        assert_eq!(read, ensemble);
        let mut got = vec![0.0; classes];
        for n in 0..300 {
            let row: Vec<f32> = (0..features)
                .map(|_| match n % 2 {
                    0 => numbers.value(),
                    _ => numbers.fraction(),
                })
                .collect();
            read.score(&row, &mut got);
            let want = plainly(&grown, classes, &row);
            assert!(
                got.iter()
                    .zip(&want)
                    .all(|(a, b)| a.to_bits() == b.to_bits()),
                "{got:?} is not {want:?}"
            );
        }
    }
}

#[test]
fn contributions_sum_to_the_score() {
    let mut numbers = Numbers(2);
    let trees = numbers.trees(20, 6, 3);
    let ensemble = Ensemble::from_trees(card(6, 3), &trees).unwrap();
    let (mut probabilities, mut contributions) = ([0.0; 3], [0.0; 6]);
    for _ in 0..100 {
        let row: [f32; 6] = std::array::from_fn(|_| numbers.value());
        ensemble.score(&row, &mut probabilities);
        for (class, p) in probabilities.iter().enumerate() {
            let start = ensemble.explain(&row, class, &mut contributions);
            let sum = start + contributions.iter().sum::<f32>();
            assert!((sum - p).abs() < 1e-5, "{sum} is not {p}");
        }
    }
}

#[test]
fn missing_goes_where_the_node_says() {
    for missing_left in [true, false] {
        let split = TreeNode::Split(Split {
            feature: 0,
            threshold: 1.0,
            missing_left,
            left: 1,
            right: 2,
        });
        let tree = Tree {
            nodes: vec![split, TreeNode::Leaf, TreeNode::Leaf],
            values: vec![0.5, 0.5, 1.0, 0.0, 0.0, 1.0],
        };
        let ensemble = Ensemble::from_trees(card(1, 2), &[tree]).unwrap();
        let first = |x: f32| {
            let mut probabilities = [0.0; 2];
            ensemble.score(&[x], &mut probabilities);
            probabilities[0]
        };
        assert_eq!(first(f32::NAN), f32::from(u8::from(missing_left)));
        assert_eq!(first(1.0), 1.0);
        assert_eq!(first(1.0_f32.next_up()), 0.0);
        assert_eq!(first(f32::NEG_INFINITY), 1.0);
        assert_eq!(first(f32::INFINITY), 0.0);
    }
}

#[test]
fn every_truncation_and_every_flipped_bit_is_refused() {
    let bytes = small().to_bytes().unwrap();
    for end in 0..bytes.len() {
        assert!(Ensemble::from_bytes(&bytes[..end]).is_err(), "cut at {end}");
        // With a checksum that fits, the length still does not.
        assert!(Ensemble::from_bytes(&sealed(bytes[..end].to_vec())).is_err());
    }
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Ensemble::from_bytes(&flipped).is_err(), "bit {bit} flipped");
    }
    let mut longer = bytes;
    longer.push(0);
    assert!(Ensemble::from_bytes(&longer).is_err());
}

/// Whatever is read can be scored.
fn use_it(ensemble: &Ensemble) {
    let mut probabilities = vec![0.0; ensemble.classes()];
    let mut contributions = vec![0.0; ensemble.features()];
    for x in [0.5, f32::NAN, f32::INFINITY, f32::NEG_INFINITY] {
        let row = vec![x; ensemble.features()];
        ensemble.score(&row, &mut probabilities);
        assert!(probabilities.iter().all(|p| (0.0..=1.01).contains(p)));
        ensemble.explain(&row, 0, &mut contributions);
    }
    let again = Ensemble::from_bytes(&ensemble.to_bytes().unwrap()).unwrap();
    assert_eq!(&again, ensemble);
}

proptest! {
    #[test]
    fn hostile_bytes_are_refused_or_harmless(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        cut in any::<prop::sample::Index>(),
        shorter in prop::bool::weighted(0.1),
    ) {
        let mut bytes = small().to_bytes().unwrap();
        for (place, value) in changes {
            let place = place.index(bytes.len());
            bytes[place] = value;
        }
        if shorter {
            bytes.truncate(cut.index(bytes.len()));
        }
        if let Ok(ensemble) = Ensemble::from_bytes(&sealed(bytes)) {
            use_it(&ensemble);
        }
    }

    #[test]
    fn hostile_nodes_are_refused_or_harmless(
        places in prop::collection::vec((any::<prop::sample::Index>(), 0_u32..140, 0_u32..5, any::<bool>()), 1..4),
        starts in prop::collection::vec((1_usize..3, 0_u32..140), 0..2),
    ) {
        let good = small();
        let (mut nodes, mut offsets) = (good.nodes.clone(), good.starts.clone());
        for (place, child, feature, right) in places {
            let place = place.index(nodes.len());
            nodes[place][1] = Node::split(feature as u16, 0.0, right, child).0[1];
        }
        for (place, start) in starts {
            offsets[place] = start;
        }
        if let Ok(ensemble) = Ensemble::checked(good.card, offsets, nodes, good.values) {
            use_it(&ensemble);
        }
    }
}

#[test]
fn nodes_that_loop_or_lead_outside_are_refused() {
    let good = small();
    let with = |node: usize, new: Node| {
        let mut nodes = good.nodes.clone();
        nodes[node] = new.0;
        Ensemble::checked(
            good.card.clone(),
            good.starts.clone(),
            nodes,
            good.values.clone(),
        )
    };
    let end = good.starts[1];
    for (new, why) in [
        (Node::split(0, 0.0, false, 0), "leads to itself"),
        (Node::split(0, 0.0, false, end), "leads outside"),
        (Node::split(0, 0.0, false, 3), "leaves two nodes out"),
        (
            Node::split(4, 0.0, false, 1),
            "tests a fifth feature of four",
        ),
        (
            Node::split(0, f32::NAN, false, 1),
            "compares with no number",
        ),
        (Node::LEAF, "ends a tree that goes on"),
    ] {
        assert!(
            matches!(with(0, new), Err(ModelError::Tree { tree: 0, .. })),
            "{why}"
        );
    }
    let mut values = good.values.clone();
    values[3] = f32::NAN;
    let refused = Ensemble::checked(
        good.card.clone(),
        good.starts.clone(),
        good.nodes.clone(),
        values,
    );
    assert!(matches!(refused, Err(ModelError::Tree { .. })));
}

#[test]
fn trees_that_are_none_are_refused() {
    let split = |left, right| {
        TreeNode::Split(Split {
            feature: 0,
            threshold: 0.0,
            missing_left: true,
            left,
            right,
        })
    };
    let leaf = TreeNode::Leaf;
    for nodes in [
        vec![],
        vec![split(0, 1), leaf],
        vec![split(1, 2), leaf],
        vec![split(1, 0), leaf, leaf],
        vec![split(1, 1), split(2, 2), leaf],
    ] {
        let values = [1.0, 0.0].repeat(nodes.len());
        assert!(Ensemble::from_trees(card(1, 2), &[Tree { nodes, values }]).is_err());
    }
    let tree = Tree {
        nodes: vec![leaf],
        values: vec![1.0],
    };
    assert!(Ensemble::from_trees(card(1, 2), &[tree]).is_err());
    assert!(Ensemble::from_trees(card(1, 2), &[]).is_err());
}

#[test]
fn features_are_checked_by_name() {
    let model = small();
    let names = ["feature 0", "feature 1", "feature 2", "feature 3"];
    model.check_features("flow/1", &names).unwrap();
    let refusal = |set, names: &[&str]| model.check_features(set, names).unwrap_err().to_string();
    assert!(refusal("flow/2", &names).contains("`flow/1`"));
    let changed = refusal(
        "flow/1",
        &["feature 0", "feature 1", "feature 2", "surplus"],
    );
    assert!(
        changed.contains("it needs feature 3 and it does not know surplus"),
        "{changed}"
    );
    let order = refusal(
        "flow/1",
        &["feature 0", "feature 2", "feature 1", "feature 3"],
    );
    assert!(
        order.contains("feature 1 is feature 1 there and feature 2 here"),
        "{order}"
    );
}

#[test]
fn cards_that_contradict_themselves_are_refused() {
    let curve = |x: &[f32], y: &[f32]| Curve {
        x: x.to_vec(),
        y: y.to_vec(),
    };
    let curves = |curve: Curve| vec![curve.clone(), curve];
    let point = |rate, thresholds: &[Option<f32>]| OperatingPoint {
        name: "point".to_owned(),
        false_alarm_rate: rate,
        thresholds: thresholds.to_vec(),
    };
    let change: [&dyn Fn(&mut Card); 12] = [
        &|card| card.features.push("more".to_owned()),
        &|card| card.feature_hash.clear(),
        &|card| card.classes[0] = card.classes[1].clone(),
        &|card| card.classes.push("more".to_owned()),
        &|card| card.calibration = vec![curve(&[0.0], &[0.0])],
        &|card| card.calibration = curves(curve(&[0.5, 0.5], &[0.0, 1.0])),
        &|card| card.calibration = curves(curve(&[0.0, 1.0], &[1.0, 0.0])),
        &|card| card.calibration = curves(curve(&[0.0, 1.0], &[0.0, 1.5])),
        &|card| card.operating_points = vec![point(0.1, &[None])],
        &|card| card.operating_points = vec![point(2.0, &[None, Some(1.0)])],
        &|card| card.post_transform = PostTransform::IsolationScore,
        &|card| card.metrics = [("auc".to_owned(), f64::NAN)].into(),
    ];
    for (number, change) in change.iter().enumerate() {
        let mut card = small().card;
        change(&mut card);
        let refused = small().with_card(card.clone());
        assert!(refused.is_err(), "change {number}");
        // The same in a file.
        let mut written = small();
        written.card = card;
        assert!(Ensemble::from_bytes(&written.to_bytes().unwrap()).is_err());
    }
    let mut card = small().card;
    card.post_transform = PostTransform::Logistic;
    let message = small().with_card(card).unwrap_err().to_string();
    assert!(message.contains("post_transform"), "{message}");
}

#[test]
fn a_calibration_bends_each_class_and_keeps_the_sum() {
    let mut card = small().card;
    card.calibration = vec![
        Curve {
            x: vec![0.2, 0.6],
            y: vec![0.0, 0.8],
        },
        Curve {
            x: vec![0.5],
            y: vec![0.3],
        },
    ];
    card.operating_points = vec![OperatingPoint {
        name: "1e-3".to_owned(),
        false_alarm_rate: 1e-3,
        thresholds: vec![None, Some(0.1)],
    }];
    let plain = small();
    let model = small().with_card(card).unwrap();
    let model = Ensemble::from_bytes(&model.to_bytes().unwrap()).unwrap();
    let (mut raw, mut got) = ([0.0; 2], [0.0; 2]);
    plain.score(&[0.3; 4], &mut raw);
    model.score(&[0.3; 4], &mut got);
    let first = ((raw[0] - 0.2) / 0.4).clamp(0.0, 1.0) * 0.8;
    assert!((got[0] - first / (first + 0.3)).abs() < 1e-6);
    assert!((got[0] + got[1] - 1.0).abs() < 1e-6);
    let curve = &model.card().calibration[0];
    for (x, y) in [(0.0, 0.0), (0.2, 0.0), (0.4, 0.4), (0.6, 0.8), (1.0, 0.8)] {
        assert!((curve.at(x) - y).abs() < 1e-6, "at {x}");
    }
}
