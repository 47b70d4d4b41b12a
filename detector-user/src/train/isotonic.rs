//! Fitting the curves that turn scores into probabilities.

use crate::model::Curve;

/// Isotonic regression of "is of this class" on the class's score, one class after the other,
/// by pooling adjacent violators (Ayer et al. 1955; Zadrozny and Elkan 2002 for calibration).
///
/// `probabilities` has rows × classes scores of rows that the model was **not** fitted to
/// (out of bag, out of fold); rows whose scores are NaN or whose weight is 0 are left out. The
/// result is empty where no row is left.
///
/// # Panics
/// Where the lengths do not fit.
#[must_use]
pub fn calibration(
    labels: &[u16],
    probabilities: &[f32],
    weights: &[f32],
    classes: usize,
) -> Vec<Curve> {
    assert_eq!(probabilities.len(), labels.len() * classes, "scores");
    assert_eq!(weights.len(), labels.len(), "weights");
    let curves: Vec<Curve> = (0..classes)
        .map(|class| {
            let points = labels.iter().zip(weights).enumerate();
            fit(points
                .map(|(row, (&label, &weight))| Block {
                    from: probabilities[row * classes + class],
                    to: probabilities[row * classes + class],
                    mean: f64::from(u8::from(usize::from(label) == class)),
                    weight: f64::from(weight),
                })
                .filter(|block| !block.from.is_nan() && block.weight > 0.0)
                .collect())
        })
        .collect();
    if curves.iter().any(|curve| curve.x.is_empty()) {
        return Vec::new();
    }
    curves
}

/// Scores from one to another that share a probability.
#[derive(Clone, Copy)]
struct Block {
    from: f32,
    to: f32,
    mean: f64,
    weight: f64,
}

impl Block {
    fn join(self, next: Self) -> Self {
        let weight = self.weight + next.weight;
        Self {
            from: self.from,
            to: next.to,
            mean: (self.mean * self.weight + next.mean * next.weight) / weight,
            weight,
        }
    }
}

fn fit(mut points: Vec<Block>) -> Curve {
    points.sort_by(|a, b| a.from.total_cmp(&b.from));
    // Rows of one score have one probability, whatever the order they come in.
    let ties = points
        .chunk_by(|a, b| a.from == b.from)
        .filter_map(|ties| ties.iter().copied().reduce(Block::join));
    let mut blocks: Vec<Block> = Vec::new();
    for mut block in ties {
        while let Some(before) = blocks.pop_if(|before| before.mean >= block.mean) {
            block = before.join(block);
        }
        blocks.push(block);
    }
    let mut curve = Curve {
        x: Vec::new(),
        y: Vec::new(),
    };
    for block in blocks {
        let ends = [block.from, block.to];
        for &x in &ends[usize::from(block.from == block.to)..] {
            curve.x.push(x);
            curve.y.push((block.mean as f32).clamp(0.0, 1.0));
        }
    }
    curve
}
