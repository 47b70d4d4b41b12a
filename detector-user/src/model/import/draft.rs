//! A tree while it is read, and splits as this program makes them.

use crate::model::{Split, TREE_NODES_MAX, Tree, TreeNode};

/// The largest 32-bit float not above `t`: `x <= t` decides the same with either, for every 32-bit `x`.
pub(super) fn at_most(t: f64) -> f32 {
    let near = t as f32;
    if f64::from(near) > t {
        near.next_down()
    } else {
        near
    }
}

/// The largest 32-bit float below `t`: `x <= it` decides as `x < t` does. `None` where nothing is below.
pub(super) fn below(t: f64) -> Option<f32> {
    let near = at_most(t);
    if f64::from(near) < t {
        return Some(near);
    }
    (near != f32::NEG_INFINITY).then(|| near.next_down())
}

/// A node as a file has it: where it leads or what it says.
#[derive(Clone, Debug)]
pub(super) enum DraftNode {
    /// It ends here.
    Leaf(Vec<f32>),
    /// It goes on; `left` and `right` are whatever the file calls them.
    Split(DraftSplit),
}

/// A split as a file has it.
#[derive(Clone, Copy, Debug)]
pub(super) struct DraftSplit {
    pub(super) feature: u16,
    pub(super) threshold: f32,
    pub(super) missing_left: bool,
    pub(super) left: i64,
    pub(super) right: i64,
}

/// A tree copied from a file, node by node from its root on: what is not reached is left out, what several nodes lead to
/// is there as often. `node` gives a node and the weight of the rows that came there (1 a leaf where it is not known).
pub(super) fn draw_tree<E>(
    root: i64,
    width: usize,
    too_large: impl Fn() -> E,
    mut node: impl FnMut(i64) -> Result<(DraftNode, Option<f32>), E>,
) -> Result<Tree, E> {
    let mut tree = Tree::default();
    let mut weights = Vec::new();
    let mut names = vec![root];
    while let Some(&name) = names.get(tree.nodes.len()) {
        let (drawn, weight) = node(name)?;
        weights.push(weight);
        match drawn {
            DraftNode::Leaf(values) => {
                tree.nodes.push(TreeNode::Leaf);
                tree.values.extend(values);
            }
            DraftNode::Split(split) => {
                tree.nodes.push(TreeNode::Split(Split {
                    feature: split.feature,
                    threshold: split.threshold,
                    missing_left: split.missing_left,
                    left: names.len() as u32,
                    right: names.len() as u32 + 1,
                }));
                names.extend([split.left, split.right]);
                tree.values.resize(tree.nodes.len() * width, 0.0);
            }
        }
        if names.len() > TREE_NODES_MAX {
            return Err(too_large());
        }
    }
    fill_inner(&mut tree, width, &weights);
    Ok(tree)
}

/// Gives inner nodes the mean of their children's values, by the weight of the rows that went there: explanations go by
/// them. Children come after their parents.
fn fill_inner(tree: &mut Tree, width: usize, weights: &[Option<f32>]) {
    let mut weights: Vec<f64> = weights
        .iter()
        .map(|w| f64::from(w.unwrap_or(0.0)))
        .collect();
    let known = weights.iter().any(|weight| *weight > 0.0);
    for at in (0..tree.nodes.len()).rev() {
        let TreeNode::Split(split) = tree.nodes[at] else {
            if !known || !weights[at].is_finite() {
                weights[at] = 1.0;
            }
            continue;
        };
        let (left, right) = (split.left as usize, split.right as usize);
        let sum = weights[left] + weights[right];
        let share = if sum > 0.0 { weights[left] / sum } else { 0.5 };
        weights[at] = sum;
        for place in 0..width {
            let [of_left, of_right] =
                [left, right].map(|child| f64::from(tree.values[child * width + place]));
            tree.values[at * width + place] = (share * of_left + (1.0 - share) * of_right) as f32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn floats() -> impl Strategy<Value = f32> {
        any::<u32>().prop_map(f32::from_bits)
    }

    proptest! {
        #[test]
        fn rounded_thresholds_decide_the_same(x in floats(), bits in any::<u64>(), near in any::<bool>(), off in -2_i64..3) {
            let t = if near {
                let t = f64::from(x);
                f64::from_bits((t.to_bits() as i64).wrapping_add(off) as u64)
            } else {
                f64::from_bits(bits)
            };
            prop_assume!(!t.is_nan());
            prop_assert_eq!(x <= at_most(t), f64::from(x) <= t);
            match below(t) {
                Some(below) => prop_assert_eq!(x <= below, f64::from(x) < t),
                None => prop_assert!(t == f64::NEG_INFINITY),
            }
        }
    }
}
