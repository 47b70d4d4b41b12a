//! An isolation forest: what is parted from the rest by few random cuts is odd.

use serde::{Deserialize, Serialize};

use super::{
    blank_card::blank_card,
    forest::{TrainError, thread_count},
    random::Random,
    table::Table,
};
use crate::model::{
    Ensemble, PostTransform, Split, Summation, TREES_MAX, Tree, TreeNode, average_path_length,
};

/// How an isolation forest is trained.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct IsolationOptions {
    /// Trees.
    pub trees: usize,
    /// Rows of a tree, drawn without replacement.
    pub rows_per_tree: usize,
    /// The same seed gives the same forest.
    pub seed: u64,
    /// Threads to train with, 0 for as many as there are CPUs. No matter for the result.
    #[serde(skip)]
    pub threads: usize,
}

impl Default for IsolationOptions {
    fn default() -> Self {
        Self {
            trees: 300,
            rows_per_tree: 256,
            seed: 0,
            threads: 0,
        }
    }
}

/// Trains on the given rows, whatever their labels (Liu, Ting and Zhou, "Isolation forest", 2008). The table's second class is
/// the odd one. Where a feature is missing in some rows, every second cut parts these from the others; the rest send them to
/// either side by chance, one side a cut.
///
/// # Errors
/// [`TrainError`] where an option is out of range, there are fewer than two rows, or not two classes.
pub fn train_isolation(
    table: &Table,
    rows: &[u32],
    options: &IsolationOptions,
    progress: &(dyn Fn() + Sync),
) -> Result<Ensemble, TrainError> {
    if rows.len() < 2 {
        return Err(TrainError::Empty);
    }
    for (option, found, max) in [
        ("the number of trees", options.trees, TREES_MAX),
        ("the rows of a tree", options.rows_per_tree, 65_536),
    ] {
        if !(2..=max).contains(&found) {
            return Err(TrainError::Option {
                option,
                found: found.to_string(),
                allowed: format!("2 to {max}"),
            });
        }
    }
    let rows_per_tree = options.rows_per_tree.min(rows.len());
    let depth_max = (rows_per_tree as f64).log2().ceil() as usize;
    let mut trees = vec![Tree::default(); options.trees];
    let threads = thread_count(options.threads);
    let share = options.trees.div_ceil(threads);
    std::thread::scope(|scope| {
        for (number, trees) in trees.chunks_mut(share).enumerate() {
            scope.spawn(move || {
                for (place, tree) in trees.iter_mut().enumerate() {
                    let mut random = Random::new(options.seed, (number * share + place) as u64);
                    let mut drawn = draw(rows, rows_per_tree, &mut random);
                    *tree = grow(table, &mut drawn, depth_max, &mut random);
                    progress();
                }
            });
        }
    });
    let mut card = blank_card(table, "isolation", options);
    card.post_transform = PostTransform::IsolationScore;
    card.summation = Summation::isolation(options.trees, rows_per_tree);
    Ok(Ensemble::from_trees(card, &trees)?)
}

/// So many of the rows, none twice (Floyd's way).
fn draw(rows: &[u32], wanted: usize, random: &mut Random) -> Vec<u32> {
    let mut places = std::collections::BTreeSet::new();
    for last in rows.len() - wanted..rows.len() {
        let place = random.below(last + 1);
        if !places.insert(place) {
            places.insert(last);
        }
    }
    places.into_iter().map(|place| rows[place]).collect()
}

struct Pending {
    node: usize,
    from: usize,
    to: usize,
    depth: usize,
}

fn grow(table: &Table, rows: &mut [u32], depth_max: usize, random: &mut Random) -> Tree {
    let mut tree = Tree::default();
    let add = |tree: &mut Tree, depth: usize, rows: usize| {
        tree.nodes.push(TreeNode::Leaf);
        let path = depth as f64 + average_path_length(rows as f64);
        tree.values.push(path as f32);
        tree.nodes.len() - 1
    };
    let mut features: Vec<u16> = (0..table.features() as u16).collect();
    let mut stack = vec![Pending {
        node: add(&mut tree, 0, rows.len()),
        from: 0,
        to: rows.len(),
        depth: 0,
    }];
    while let Some(pending) = stack.pop() {
        let here = &mut rows[pending.from..pending.to];
        if pending.depth >= depth_max || here.len() < 2 {
            continue;
        }
        let Some((feature, threshold, missing_left)) = cut(table, here, &mut features, random)
        else {
            continue;
        };
        let column = table.column(usize::from(feature));
        let left = |row: &u32| {
            let x = column[*row as usize];
            x <= threshold || x.is_nan() && missing_left
        };
        here.sort_by_key(|row| !left(row));
        let middle = here.partition_point(left);
        let sizes = (middle, here.len() - middle);
        let depth = pending.depth + 1;
        let left = add(&mut tree, depth, sizes.0);
        let right = add(&mut tree, depth, sizes.1);
        tree.nodes[pending.node] = TreeNode::Split(Split {
            feature,
            threshold,
            missing_left,
            left: left as u32,
            right: right as u32,
        });
        let middle = pending.from + middle;
        for (node, from, to) in [(left, pending.from, middle), (right, middle, pending.to)] {
            stack.push(Pending {
                node,
                from,
                to,
                depth,
            });
        }
    }
    tree
}

/// A feature that differs among the rows, by chance, a threshold between its least and its greatest value, by chance, and
/// whether a missing value goes left.
fn cut(
    table: &Table,
    rows: &[u32],
    features: &mut [u16],
    random: &mut Random,
) -> Option<(u16, f32, bool)> {
    for drawn in 0..features.len() {
        let other = drawn + random.below(features.len() - drawn);
        features.swap(drawn, other);
        let column = table.column(usize::from(features[drawn]));
        let (mut low, mut high, mut missing) = (f32::INFINITY, f32::NEG_INFINITY, false);
        for &row in rows {
            let x = column[row as usize];
            if x.is_nan() {
                missing = true;
            } else {
                low = low.min(x);
                high = high.max(x);
            }
        }
        if missing && low <= high && (low == high || random.below(2) == 0) {
            return Some((features[drawn], f32::INFINITY, false));
        }
        if low < high && (high - low).is_finite() {
            let fraction = random.below(1 << 53) as f64 / (1_u64 << 53) as f64;
            let at = f64::from(low) + fraction * (f64::from(high) - f64::from(low));
            // Rounding may make it the greatest value, and then nothing would go right.
            let threshold = (at as f32).clamp(low, high.next_down());
            return Some((features[drawn], threshold, random.below(2) == 0));
        }
    }
    None
}
