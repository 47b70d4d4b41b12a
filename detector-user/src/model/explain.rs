//! Which features led a row to its score.

use super::{
    ensemble::Ensemble,
    node::{Node, sides},
};

impl Ensemble {
    /// What each feature added to the score of `class` on the row's way through the trees, after
    /// Saabas ("Interpreting random forests", 2014): at each node the test's feature gains the
    /// difference between the child's value and the node's.
    ///
    /// Returns where the score began, at the roots: it and the `contributions` (one a feature, signed) sum to the score
    /// before post-transform and calibration, that is for a mean of class fractions in probability, for boosting in
    /// log-odds, for an isolation forest in powers of two.
    ///
    /// # Panics
    /// Where `row` or `contributions` has not one value a feature, or there is no such class.
    pub fn explain(&self, row: &[f32], class: usize, contributions: &mut [f32]) -> f32 {
        assert_eq!(row.len(), self.features(), "values in a row");
        assert_eq!(contributions.len(), self.features(), "contributions");
        assert!(class < self.classes(), "no such class");
        contributions.fill(0.0);
        let card = &self.card;
        // Of two classes with one sum, the sum is the second's.
        let sum = class.min(card.sums() - 1);
        let summation = &card.summation;
        let mut start = summation.base.get(sum).copied().unwrap_or(0.0);
        for (tree, &root) in self.starts[..self.trees()].iter().enumerate() {
            let place = match summation.tree_sums.get(tree) {
                Some(&of_tree) if usize::from(of_tree) != sum => continue,
                Some(_) => 0,
                None => sum,
            };
            let mut at = root as usize;
            let mut value = self.values_of(at)[place];
            start += value;
            loop {
                let node = Node(self.nodes[at]);
                let x = sides(row[node.feature()])[node.side() % 2];
                let next = at + node.step(x) as usize;
                if next == at {
                    break;
                }
                let of_next = self.values_of(next)[place];
                contributions[node.feature()] += of_next - value;
                (at, value) = (next, of_next);
            }
        }
        for contribution in contributions {
            *contribution = card.weigh(*contribution, class, self.trees());
        }
        card.weigh(start, class, self.trees())
    }
}
