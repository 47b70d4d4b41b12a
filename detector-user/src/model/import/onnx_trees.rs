//! The trees of an ONNX operator, from its parallel lists.

use std::collections::{HashMap, HashSet};

use super::{
    ImportError,
    draft::{DraftNode, DraftSplit, at_most, below, draw_tree},
    onnx_graph::{malformed, unsupported},
    onnx_message::Node,
};
use crate::model::Tree;

/// A node of the lists.
#[derive(Clone, Debug)]
enum ListNode {
    /// What it adds to which output.
    Leaf(Vec<(usize, f32)>),
    /// Where it leads: places in the lists.
    Split(DraftSplit),
}

/// All nodes, by their place in the lists, and where each tree begins.
#[derive(Clone, Debug, Default)]
pub(super) struct Lists {
    roots: Vec<i64>,
    nodes: Vec<ListNode>,
    pub(super) features: usize,
}

/// Trees and, where each adds to one of several sums only, which.
pub(super) struct Drawn {
    pub(super) trees: Vec<Tree>,
    pub(super) tree_sums: Vec<u16>,
}

/// One test of a value: its mode, what it compares with, where it leads, and where NaN does.
struct Test<'a> {
    mode: &'a str,
    feature: i64,
    value: f64,
    on_true: i64,
    on_false: i64,
    missing_is_true: bool,
}

impl Test<'_> {
    fn split(&self) -> Result<DraftSplit, ImportError> {
        // Greater is not less or equal: the sides change places.
        let (less, strict) = match self.mode {
            "BRANCH_LEQ" => (true, false),
            "BRANCH_LT" => (true, true),
            "BRANCH_GT" => (false, false),
            "BRANCH_GTE" => (false, true),
            other => {
                return Err(unsupported(
                    format!("it has splits of mode {other}"),
                    "use one whose splits compare by order",
                ));
            }
        };
        if self.value.is_nan() {
            return Err(malformed("a split", "has no number for a threshold"));
        }
        let threshold = if strict {
            below(self.value)
        } else {
            Some(at_most(self.value))
        };
        let threshold = threshold.ok_or_else(|| {
            unsupported(
                "it has a split that nothing can pass".to_owned(),
                "train it on finite values",
            )
        })?;
        let feature = u16::try_from(self.feature)
            .map_err(|_| malformed("a split", "tests a feature that it cannot have"))?;
        Ok(DraftSplit {
            feature,
            threshold,
            missing_left: self.missing_is_true == less,
            left: if less { self.on_true } else { self.on_false },
            right: if less { self.on_false } else { self.on_true },
        })
    }
}

/// The trees of a TreeEnsembleClassifier (`kind` is `class`) or a TreeEnsembleRegressor (`target`).
pub(super) fn classic(node: &Node, kind: &str) -> Result<Lists, ImportError> {
    let trees = node.integers("nodes_treeids");
    let ids = node.integers("nodes_nodeids");
    let features = node.integers("nodes_featureids");
    let on_true = node.integers("nodes_truenodeids");
    let on_false = node.integers("nodes_falsenodeids");
    let missing = node.integers("nodes_missing_value_tracks_true");
    let values = node.numbers("nodes_values")?;
    let modes = node
        .attribute("nodes_modes")
        .map_or(&[][..], |modes| &modes.strings);
    let count = ids.len();
    let lengths = [
        trees.len(),
        features.len(),
        on_true.len(),
        on_false.len(),
        values.len(),
        modes.len(),
    ];
    if count == 0 || lengths != [count; 6] || !(missing.is_empty() || missing.len() == count) {
        return Err(malformed(
            "`nodes_…`",
            "are lists of different lengths, or empty",
        ));
    }
    let places: HashMap<(i64, i64), i64> = trees
        .iter()
        .copied()
        .zip(ids.iter().copied())
        .zip(0..)
        .collect();
    if places.len() != count {
        return Err(malformed("`nodes_nodeids`", "names a node twice"));
    }

    let of_leaves = node.integers(&format!("{kind}_treeids"));
    let leaf_ids = node.integers(&format!("{kind}_nodeids"));
    let outputs = node.integers(&format!("{kind}_ids"));
    let weights = node.numbers(&format!("{kind}_weights"))?;
    if [leaf_ids.len(), outputs.len(), weights.len()] != [of_leaves.len(); 3] {
        return Err(malformed(
            format!("`{kind}_…`"),
            "are lists of different lengths",
        ));
    }
    let mut leaves: HashMap<(i64, i64), Vec<(usize, f32)>> = HashMap::new();
    for (place, key) in of_leaves
        .iter()
        .copied()
        .zip(leaf_ids.iter().copied())
        .enumerate()
    {
        let output = usize::try_from(outputs[place])
            .map_err(|_| malformed(format!("`{kind}_ids`"), "is negative"))?;
        leaves
            .entry(key)
            .or_default()
            .push((output, weights[place] as f32));
    }

    let mut lists = Lists::default();
    let mut children = HashSet::new();
    for place in 0..count {
        let mode = std::str::from_utf8(&modes[place]).unwrap_or("(not UTF-8)");
        if mode == "LEAF" {
            let leaf = leaves.remove(&(trees[place], ids[place]));
            lists.nodes.push(ListNode::Leaf(leaf.unwrap_or_default()));
            continue;
        }
        let child = |id: i64| {
            let found = places.get(&(trees[place], id)).copied();
            found.ok_or_else(|| malformed("a split", "leads to a node that is not there"))
        };
        let test = Test {
            mode,
            feature: features[place],
            value: values[place],
            on_true: child(on_true[place])?,
            on_false: child(on_false[place])?,
            missing_is_true: missing.get(place).is_some_and(|missing| *missing != 0),
        };
        children.extend([test.on_true, test.on_false]);
        lists.push(test.split()?);
    }
    lists.roots = (0..count as i64)
        .filter(|place| !children.contains(place))
        .collect();
    let all: HashSet<i64> = trees.iter().copied().collect();
    if lists.roots.len() != all.len() {
        return Err(malformed(
            "`nodes_…`",
            "hold a tree with no root, or with two",
        ));
    }
    Ok(lists)
}

/// The trees of a TreeEnsemble, of ai.onnx.ml version 5: splits and leaves are numbered apart, leaves here come after
/// the splits.
pub(super) fn version_5(node: &Node) -> Result<Lists, ImportError> {
    const MODES: [&str; 7] = [
        "BRANCH_LEQ",
        "BRANCH_LT",
        "BRANCH_GTE",
        "BRANCH_GT",
        "BRANCH_EQ",
        "BRANCH_NEQ",
        "BRANCH_MEMBER",
    ];
    let features = node.integers("nodes_featureids");
    let values = node.numbers("nodes_splits")?;
    let modes = node.numbers("nodes_modes")?;
    let on_true = node.integers("nodes_truenodeids");
    let on_false = node.integers("nodes_falsenodeids");
    let true_is_leaf = node.integers("nodes_trueleafs");
    let false_is_leaf = node.integers("nodes_falseleafs");
    let missing = node.integers("nodes_missing_value_tracks_true");
    let count = features.len();
    let lengths = [
        values.len(),
        modes.len(),
        on_true.len(),
        on_false.len(),
        true_is_leaf.len(),
        false_is_leaf.len(),
    ];
    if lengths != [count; 6] || !(missing.is_empty() || missing.len() == count) {
        return Err(malformed("`nodes_…`", "are lists of different lengths"));
    }
    let place = |id: i64, is_leaf: i64| {
        if is_leaf == 0 {
            id
        } else {
            id.saturating_add(count as i64)
        }
    };
    let mut lists = Lists::default();
    for n in 0..count {
        let test = Test {
            mode: MODES
                .get(modes[n] as usize)
                .copied()
                .unwrap_or("(not known)"),
            feature: features[n],
            value: values[n],
            on_true: place(on_true[n], true_is_leaf[n]),
            on_false: place(on_false[n], false_is_leaf[n]),
            missing_is_true: missing.get(n).is_some_and(|missing| *missing != 0),
        };
        lists.push(test.split()?);
    }
    let targets = node.integers("leaf_targetids");
    let weights = node.numbers("leaf_weights")?;
    if targets.len() != weights.len() {
        return Err(malformed("`leaf_…`", "are lists of different lengths"));
    }
    for (target, weight) in targets.iter().zip(weights) {
        let target =
            usize::try_from(*target).map_err(|_| malformed("`leaf_targetids`", "is negative"))?;
        lists
            .nodes
            .push(ListNode::Leaf(vec![(target, weight as f32)]));
    }
    lists.roots = node.integers("tree_roots").to_vec();
    Ok(lists)
}

impl Lists {
    fn push(&mut self, split: DraftSplit) {
        self.features = self.features.max(usize::from(split.feature) + 1);
        self.nodes.push(ListNode::Split(split));
    }

    /// What leaves say of which output.
    pub(super) fn leaf_values(&self) -> impl Iterator<Item = (usize, f32)> {
        let leaves = self.nodes.iter().filter_map(|node| match node {
            ListNode::Leaf(values) => Some(values),
            ListNode::Split(_) => None,
        });
        leaves.flatten().copied()
    }

    /// Each tree with a row of values for every node, as `values` makes it of what a leaf at a depth says.
    pub(super) fn draw(
        &self,
        width: usize,
        values: impl Fn(&[(usize, f32)], usize) -> Result<Vec<f32>, ImportError>,
    ) -> Result<Vec<Tree>, ImportError> {
        let of_root = |&root: &i64| {
            // Nodes that lead to one another end at the limit of a tree's nodes.
            let mut depths = HashMap::from([(root, 0_usize)]);
            let too_large = || malformed("a tree", "is no tree, or too large a one");
            draw_tree(root, width, too_large, |name| {
                let node = usize::try_from(name)
                    .ok()
                    .and_then(|place| self.nodes.get(place));
                let node =
                    node.ok_or_else(|| malformed("a tree", "leads to a node that is not there"))?;
                let depth = depths.get(&name).copied().unwrap_or(0);
                Ok(match node {
                    ListNode::Leaf(leaf) => (DraftNode::Leaf(values(leaf, depth)?), None),
                    ListNode::Split(split) => {
                        depths.extend([(split.left, depth + 1), (split.right, depth + 1)]);
                        (DraftNode::Split(*split), None)
                    }
                })
            })
        };
        self.roots.iter().map(of_root).collect()
    }

    /// Trees that add to `sums` outputs: one value a node where each tree adds to one output only.
    pub(super) fn draw_sums(&self, sums: usize) -> Result<Drawn, ImportError> {
        let output = |output: usize| {
            let known = Some(output).filter(|output| *output < sums);
            known.ok_or_else(|| malformed("a leaf", "adds to an output that is not there"))
        };
        let trees = self.draw(sums, |leaf, _| {
            let mut values = vec![0.0; sums];
            for (of, weight) in leaf {
                values[output(*of)?] += weight;
            }
            Ok(values)
        })?;
        let one_each: Option<Vec<u16>> = trees.iter().map(|tree| only_sum(tree, sums)).collect();
        match one_each {
            Some(tree_sums) if sums > 1 => {
                let narrowed = trees.into_iter().zip(&tree_sums).map(|(tree, &sum)| Tree {
                    values: tree
                        .values
                        .chunks_exact(sums)
                        .map(|row| row[usize::from(sum)])
                        .collect(),
                    nodes: tree.nodes,
                });
                Ok(Drawn {
                    trees: narrowed.collect(),
                    tree_sums,
                })
            }
            _ => Ok(Drawn {
                trees,
                tree_sums: Vec::new(),
            }),
        }
    }
}

/// The one sum that a tree adds to, if it is one.
fn only_sum(tree: &Tree, sums: usize) -> Option<u16> {
    let added = |sum: usize| tree.values.chunks_exact(sums).any(|row| row[sum] != 0.0);
    let mut all = (0..sums).filter(|sum| added(*sum));
    let first = all.next().unwrap_or(0);
    (all.next().is_none()).then_some(first as u16)
}
