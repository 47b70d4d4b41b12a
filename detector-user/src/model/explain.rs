//! Which features led a row to its score.

use super::{
    ensemble::Ensemble,
    node::{Node, sides},
};

impl Ensemble {
    /// What each feature added to the score of `class` on the row's way through the trees, after
    /// Saabas ("Interpreting random forests", 2014): at each node the test's feature gains the
    /// difference between the child's class value and the node's, over the number of trees.
    ///
    /// Returns where the score began, the mean over the roots: it and the `contributions` (one a
    /// feature, signed, in probability) sum to the score before calibration.
    ///
    /// # Panics
    /// Where `row` or `contributions` has not one value a feature, or there is no such class.
    pub fn explain(&self, row: &[f32], class: usize, contributions: &mut [f32]) -> f32 {
        assert_eq!(row.len(), self.features(), "values in a row");
        assert_eq!(contributions.len(), self.features(), "contributions");
        assert!(class < self.classes(), "no such class");
        contributions.fill(0.0);
        let mut start = 0.0;
        for &root in &self.starts[..self.trees()] {
            let mut at = root as usize;
            let mut value = self.values_of(at)[class];
            start += value;
            loop {
                let node = Node(self.nodes[at]);
                let x = sides(row[node.feature()])[node.side() % 2];
                let next = at + node.step(x) as usize;
                if next == at {
                    break;
                }
                let of_next = self.values_of(next)[class];
                contributions[node.feature()] += of_next - value;
                (at, value) = (next, of_next);
            }
        }
        let trees = self.trees() as f32;
        for contribution in contributions {
            *contribution /= trees;
        }
        start / trees
    }
}
