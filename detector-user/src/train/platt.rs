//! Platt's calibration: a logistic curve through the log-odds of a score.

use crate::model::Curve;

/// Log-odds that scores are held within: beyond, a score says no more than its trees can.
const LOG_ODDS_MAX: f64 = 9.0;
/// Points of the curve.
const POINTS: usize = 181;
/// Steps of Newton's method, at most.
const STEPS: usize = 100;

/// Fits "is of this class" to the class's score, one class after the other (Platt 1999, with the targets and the method of
/// Lin, Lin and Weng 2007, on log-odds, so that scores which are right already stay). Arguments as of
/// [`calibration`](super::calibration). A class without rows, or of which there is nothing else, keeps its scores.
///
/// # Panics
/// Where the lengths do not fit.
#[must_use]
pub fn platt(labels: &[u16], probabilities: &[f32], weights: &[f32], classes: usize) -> Vec<Curve> {
    assert_eq!(probabilities.len(), labels.len() * classes, "scores");
    assert_eq!(weights.len(), labels.len(), "weights");
    (0..classes)
        .map(|class| {
            let rows = labels.iter().zip(weights).enumerate();
            let points: Vec<(f64, bool, f64)> = rows
                .map(|(row, (&label, &weight))| {
                    let score = probabilities[row * classes + class];
                    (
                        f64::from(score),
                        usize::from(label) == class,
                        f64::from(weight),
                    )
                })
                .filter(|(score, _, weight)| !score.is_nan() && *weight > 0.0)
                .map(|(score, is, weight)| (log_odds(score), is, weight))
                .collect();
            let (slope, shift) = fit(&points).unwrap_or((1.0, 0.0));
            curve(slope, shift)
        })
        .collect()
}

fn log_odds(score: f64) -> f64 {
    let bound = 1.0 / (1.0 + LOG_ODDS_MAX.exp());
    let score = score.clamp(bound, 1.0 - bound);
    (score / (1.0 - score)).ln()
}

fn logistic(x: f64) -> f64 {
    1.0 / (1.0 + (-x).exp())
}

fn curve(slope: f64, shift: f64) -> Curve {
    let mut curve = Curve {
        x: Vec::with_capacity(POINTS),
        y: Vec::with_capacity(POINTS),
    };
    for point in 0..POINTS {
        let at = (2.0 * point as f64 / (POINTS - 1) as f64 - 1.0) * LOG_ODDS_MAX;
        curve.x.push(logistic(at) as f32);
        curve.y.push(logistic(slope * at + shift) as f32);
    }
    curve
}

/// Slope and shift; none where there is nothing to fit to, or the score says the opposite.
fn fit(points: &[(f64, bool, f64)]) -> Option<(f64, f64)> {
    let sum = |wanted: bool| -> f64 {
        let of = points.iter().filter(|(_, is, _)| *is == wanted);
        of.map(|(_, _, weight)| weight).sum()
    };
    let (positive, negative) = (sum(true), sum(false));
    if positive <= 0.0 || negative <= 0.0 {
        return None;
    }
    let high = (positive + 1.0) / (positive + 2.0);
    let low = 1.0 / (negative + 2.0);
    let target = |is: bool| if is { high } else { low };
    let loss = |slope: f64, shift: f64| -> f64 {
        let of = |&(x, is, weight): &(f64, bool, f64)| {
            let z = slope * x + shift;
            // −t ln p − (1 − t) ln (1 − p), without overflow.
            let soft = if z > 0.0 {
                z + (-z).exp().ln_1p()
            } else {
                z.exp().ln_1p()
            };
            weight * (soft - target(is) * z)
        };
        points.iter().map(of).sum()
    };
    let (mut slope, mut shift) = (1.0, 0.0);
    let mut now = loss(slope, shift);
    for _ in 0..STEPS {
        // Gradient and second derivatives, the latter kept off 0.
        let (mut ga, mut gb, mut haa, mut hab, mut hbb) = (0.0, 0.0, 1e-9, 0.0, 1e-9);
        for &(x, is, weight) in points {
            let p = logistic(slope * x + shift);
            let error = weight * (p - target(is));
            let curve = weight * p * (1.0 - p);
            ga += error * x;
            gb += error;
            haa += curve * x * x;
            hab += curve * x;
            hbb += curve;
        }
        let det = haa * hbb - hab * hab;
        if ga.abs().max(gb.abs()) < 1e-6 || det <= 0.0 {
            break;
        }
        let da = -(hbb * ga - hab * gb) / det;
        let db = -(haa * gb - hab * ga) / det;
        let mut step = 1.0;
        while step > 1e-8 && loss(slope + step * da, shift + step * db) > now {
            step /= 2.0;
        }
        slope += step * da;
        shift += step * db;
        let next = loss(slope, shift);
        if now - next < 1e-10 * now.abs() {
            break;
        }
        now = next;
    }
    (slope > 1e-6 && slope.is_finite() && shift.is_finite()).then_some((slope, shift))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// scikit-learn 1.9: LogisticRegression(C=1e9) on the log-odds, without the targets' smoothing, gives the slope 2 and
    /// the shift −1 that the labels were drawn by.
    #[test]
    fn the_slope_and_shift_that_labels_were_drawn_by_are_found() {
        let mut points = Vec::new();
        for n in 0..=200 {
            let x = f64::from(n) / 25.0 - 4.0;
            let p = logistic(2.0 * x - 1.0);
            points.push((x, true, 1e4 * p));
            points.push((x, false, 1e4 * (1.0 - p)));
        }
        let (slope, shift) = fit(&points).unwrap();
        assert!(
            (slope - 2.0).abs() < 1e-2 && (shift + 1.0).abs() < 1e-2,
            "{slope} {shift}"
        );
    }

    #[test]
    fn a_class_without_rows_keeps_its_scores() {
        let curves = platt(&[0, 0], &[0.9, 0.1, 0.8, 0.2], &[1.0, 1.0], 2);
        for x in [0.01, 0.2, 0.5, 0.93] {
            assert!((curves[1].at(x) - x).abs() < 1e-3);
        }
    }
}
