//! What depends on the probabilities themselves.
//!
//! Each function takes labels (number of the class), probabilities (rows × classes) and
//! weights, and gives NaN where there is no weight at all.

/// Mean of −ln p(true class), in nats; p is kept within [ε, 1 − ε] of an f32, as
/// scikit-learn does with f32 probabilities.
///
/// # Panics
/// Where the lengths do not fit or a label names no class.
#[must_use]
pub fn log_loss(labels: &[u16], probabilities: &[f32], weights: &[f32], classes: usize) -> f64 {
    let epsilon = f32::EPSILON;
    mean(labels, probabilities, weights, classes, |label, row| {
        -f64::from(row[label].clamp(epsilon, 1.0 - epsilon)).ln()
    })
}

/// Brier's score (1950): mean over the rows of Σ over the classes of (p − truth)², 0 to 2;
/// of two classes the half of it, 0 to 1.
///
/// # Panics
/// As [`log_loss`].
#[must_use]
pub fn brier(labels: &[u16], probabilities: &[f32], weights: &[f32], classes: usize) -> f64 {
    let all = mean(labels, probabilities, weights, classes, |label, row| {
        let distance = |(class, p): (usize, &f32)| {
            let truth = f64::from(u8::from(class == label));
            (f64::from(*p) - truth).powi(2)
        };
        row.iter().enumerate().map(distance).sum()
    });
    if classes == 2 { all / 2.0 } else { all }
}

/// Expected calibration error (Guo et al., "On calibration of modern neural networks", 2017),
/// 0 to 1: over equally wide bins of the largest probability, the mean distance between it and
/// the share of rows for which it names the right class, bins weighing as their rows do.
///
/// # Panics
/// As [`log_loss`], and where `bins` is 0.
#[must_use]
pub fn calibration_error(
    labels: &[u16],
    probabilities: &[f32],
    weights: &[f32],
    classes: usize,
    bins: usize,
) -> f64 {
    assert!(bins > 0, "bins");
    // Per bin: confidence less hits.
    let mut gaps = vec![0.0; bins];
    let mut total = 0.0;
    let rows = probabilities.chunks_exact(classes);
    for ((&label, row), &weight) in labels.iter().zip(rows).zip(weights) {
        let decided = decide(row);
        let confidence = f64::from(row[decided]);
        let hit = f64::from(u8::from(decided == usize::from(label)));
        // Bins are closed above, as in the paper: (m − 1) / M < p ≤ m / M.
        let bin = (confidence * bins as f64).ceil().max(1.0) as usize - 1;
        gaps[bin.min(bins - 1)] += f64::from(weight) * (confidence - hit);
        total += f64::from(weight);
    }
    gaps.iter().map(|gap| gap.abs()).sum::<f64>() / total
}

/// The class of the largest probability, the first of equals.
pub(super) fn decide(row: &[f32]) -> usize {
    let mut best = 0;
    for (class, p) in row.iter().enumerate() {
        if *p > row[best] {
            best = class;
        }
    }
    best
}

fn mean(
    labels: &[u16],
    probabilities: &[f32],
    weights: &[f32],
    classes: usize,
    of_row: impl Fn(usize, &[f32]) -> f64,
) -> f64 {
    assert_eq!(probabilities.len(), labels.len() * classes, "probabilities");
    assert_eq!(weights.len(), labels.len(), "weights");
    let (mut sum, mut total) = (0.0, 0.0);
    let rows = probabilities.chunks_exact(classes);
    for ((&label, row), &weight) in labels.iter().zip(rows).zip(weights) {
        sum += f64::from(weight) * of_row(usize::from(label), row);
        total += f64::from(weight);
    }
    sum / total
}
